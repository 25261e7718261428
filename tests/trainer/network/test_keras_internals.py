"""Private Keras: each function of `keras_internals` does on a small network what it says.

Where a new Keras moves something, this file names it, and one file of MIHA changes.
"""

from __future__ import annotations

import importlib
import inspect
import io
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from miha.trainer.network import keras_internals as internals

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.eye(2, dtype="float32")[np.arange(8) % 2]


def small(optimizer="adam", loss="categorical_crossentropy", **settings):
    """Return a network with another one in it, and a layer in a layer."""
    inputs = keras.Input((4,))
    inside = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="deep")], name="inside")
    hidden = layers.TimeDistributed(layers.Dense(2, name="wrapped"), name="wrapper")
    spread = hidden(layers.Reshape((1, 3))(inside(inputs)))
    outputs = layers.Dense(2, "softmax", name="last")(layers.Flatten()(spread))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss, **settings)
    return model


def trained(**settings):
    model = small(**settings)
    model.train_on_batch(X, Y)
    return model


def numpy(variable):
    return keras.ops.convert_to_numpy(variable)


def test_every_function_has_a_test_here():
    named = {
        name
        for name, thing in inspect.getmembers(internals, inspect.isfunction)
        if thing.__module__ == internals.__name__
    }
    text = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in named if f"internals.{name}(" not in text} == set()


def test_flat_layers_are_those_at_every_depth():
    model = small()
    names = [layer.name for layer in internals.flat_layers(model, include_self=False)]
    assert {"inside", "deep", "wrapper", "wrapped", "last"} <= set(names)
    assert internals.flat_layers(model)[0] is model


def test_children_are_the_layers_directly_below():
    model = small()
    wrapper = model.get_layer("wrapper")
    assert [layer.name for layer in internals.children(wrapper)] == ["wrapped"]
    assert model.get_layer("inside") in internals.children(model)


def test_a_built_layer_takes_a_seed_only_while_it_is_unlocked():
    layer = layers.Dropout(0.0)
    layer.build((None, 4))
    # Keras locks a layer after its build.
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.first = keras.random.SeedGenerator(0)
    with internals.unlocked(layer):
        layer.seed_generator = keras.random.SeedGenerator(0)
    assert len(layer.variables) == 1
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.second = keras.random.SeedGenerator(0)


def test_a_symbolic_tensor_knows_its_maker_and_what_that_reads():
    model = small()
    [output] = model.outputs
    assert internals.maker_of(output) is model.get_layer("last")
    [source] = internals.inputs_of_maker(output)
    assert isinstance(internals.maker_of(source), layers.Flatten)


def test_functional_and_sequential_networks_have_a_graph_and_others_none():
    model = small()
    inside = model.get_layer("inside")
    assert internals.functional_of(model) is model
    assert internals.functional_of(inside).outputs
    assert internals.functional_of(model.get_layer("last")) is None

    nodes = list(internals.nodes_of(internals.functional_of(inside)))
    assert inside.get_layer("deep") in [node.operation for node in nodes]
    assert all(node.outputs for node in nodes)


def test_compile_settings_are_the_objects_that_the_user_gave():
    loss = keras.losses.CategoricalCrossentropy()
    settings = internals.compile_settings(small(loss=loss, metrics=["accuracy"]))
    assert settings["loss"] is loss
    assert settings["metrics"] == ["accuracy"]
    assert internals.compile_settings(keras.Sequential()) == {}


def test_compile_settings_are_what_the_network_has_and_not_what_was_written_down():
    model = small(metrics=["accuracy"])
    model.compile("adam")
    model.optimizer = keras.optimizers.SGD()
    assert internals.written_settings(model)["loss"] is None
    settings = internals.compile_settings(model)
    assert settings["loss"] == "categorical_crossentropy"
    assert settings["metrics"] == ["accuracy"]
    assert settings["optimizer"] is model.optimizer


def test_an_optimizer_has_slots_once_it_is_built_for_weights():
    model = small()
    assert not internals.has_slots(model.optimizer)
    model.optimizer.build([])  # As Keras does where it reads a network from .h5.
    assert not internals.has_slots(model.optimizer)
    assert internals.has_slots(trained().optimizer)


def test_the_single_loss_is_there_after_a_step_and_can_be_exchanged():
    assert internals.single_loss(small()) is None
    model = trained()
    assert internals.single_loss(model).fn is keras.losses.categorical_crossentropy

    internals.replace_single_loss(model, keras.losses.MeanSquaredError())
    assert isinstance(internals.single_loss(model), keras.losses.MeanSquaredError)
    found = float(model.compute_loss(y=keras.ops.array(Y), y_pred=keras.ops.array(Y + 2)))
    assert found == pytest.approx(4.0)


def test_losses_are_found_by_their_outputs_after_a_step():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(1)(inputs)])
    model.compile("sgd", ["mse", "mae"])
    assert internals.losses_by_path(model) == []
    model.test_on_batch(np.zeros((2, 3)), [np.zeros((2, 2)), np.zeros((2, 1))])
    (first, squared), (second, absolute) = internals.losses_by_path(model)
    assert (first, second) == ((0,), (1,))
    assert (squared.name, absolute.name) == ("mse", "mae")


def test_metrics_and_optimizer_get_their_variables_without_a_step():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    values = [np.array(weight) for weight in model.weights]
    internals.build_for(model, (np.zeros((2, 3), "float32"), np.zeros((2, 2), "float32")))
    assert model.optimizer.built and len(model.metrics_variables) == 4
    for weight, value in zip(model.weights, values, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_several_losses_are_not_one():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    model.compile("sgd", ["mse", "mse"])
    model.train_on_batch(X, [Y, Y])
    assert internals.single_loss(model) is None


def test_the_settings_of_a_loss_are_its_functions_arguments():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    settings = internals.loss_settings(loss)
    assert settings == {"from_logits": True, "label_smoothing": 0.1, "axis": -1}


def test_a_random_draw_takes_a_pair_of_the_type_of_a_seed():
    class Pair(keras.random.SeedGenerator):
        def __init__(self, numbers):
            self.numbers = numbers

        def next(self, ordered=True):
            return keras.ops.cast(self.numbers, internals.seed_dtype())

    generator = keras.random.SeedGenerator(0)
    own = keras.backend.standardize_dtype(generator.state.dtype)
    assert internals.seed_dtype() == own
    drawn = [keras.random.normal((3,), seed=Pair([1, number])) for number in (1, 1, 2)]
    first, same, other = map(numpy, drawn)
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()


def test_metrics_have_a_direction():
    assert internals.metric_direction(keras.metrics.CategoricalAccuracy()) == "up"
    assert internals.metric_direction(keras.metrics.MeanSquaredError()) == "down"
    assert internals.metric_direction(None) is None


def test_all_iterations_count_batches_whose_gradients_are_accumulated():
    model = small(keras.optimizers.SGD(gradient_accumulation_steps=2))
    for _ in range(4):
        model.train_on_batch(X, Y)
    assert int(numpy(internals.all_iterations(model.optimizer))) == 4
    assert int(numpy(model.optimizer.iterations)) == 2


def test_averages_are_those_of_the_weights():
    model = trained(optimizer=keras.optimizers.SGD(use_ema=True, ema_momentum=0.0))
    averages = internals.averages(model.optimizer)
    for average, weight in zip(averages, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(numpy(average), numpy(weight))


def test_the_source_of_a_learning_rate_is_the_schedule_itself():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 6, 0.5)
    assert internals.learning_rate_source(keras.optimizers.SGD(schedule)) is schedule


def test_moments_are_paired_and_the_largest_velocity_begins_at_the_present_one():
    before = trained(optimizer=keras.optimizers.Adam()).optimizer
    after = trained(optimizer=keras.optimizers.Adam(amsgrad=True)).optimizer
    pairs = list(internals.moment_pairs(before, after))
    weights = len(before._trainable_variables)
    assert len(pairs) == 3 * weights
    assert all(source.shape == target.shape for source, target in pairs)
    assert [id(source) for source, _ in pairs[2 * weights :]] == [
        id(source) for source, _ in pairs[weights : 2 * weights]
    ]


def test_nadam_keeps_the_product_of_its_schedule():
    model = trained(optimizer="nadam")
    product = float(numpy(internals.nadam_product(model.optimizer)))
    assert product == pytest.approx(0.9 * (1 - 0.5 * 0.96))


@pytest.mark.parametrize(
    ("optimizer", "powers"),
    [
        (keras.optimizers.SGD(momentum=0.9), [1]),
        (keras.optimizers.RMSprop(momentum=0.9, centered=True), [1, 1, 2]),
        (keras.optimizers.Adam(amsgrad=True), [1, 2, 2]),
        (keras.optimizers.AdamW(), [1, 2]),
        (keras.optimizers.Nadam(), [1, 2]),
        (keras.optimizers.Adamax(), [1, 1]),
        (keras.optimizers.Adagrad(), [2]),
        (keras.optimizers.Adadelta(), [-2, 2]),
        (keras.optimizers.Lion(), [1]),
        (keras.optimizers.Lamb(), [1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_optimizer_has_slots_that_go_by_a_power_of_the_gradient(optimizer, powers):
    model = trained(optimizer=optimizer)
    weight = model.trainable_variables[0]
    slots = internals.slots_of(model.optimizer, weight)
    assert sorted(power for _, power in slots) == powers
    assert all(slot.shape == weight.shape for slot, _ in slots)
    held = {id(variable) for variable in model.optimizer.variables}
    assert all(id(slot) in held for slot, _ in slots)


def test_a_variable_that_is_not_trained_has_no_slots():
    model = trained()
    other = keras.Variable(np.zeros((3, 2), "float32"))
    assert internals.slots_of(model.optimizer, other) == []


def test_weights_are_excluded_from_decay_by_name_or_as_variables():
    model = small()
    kernel, bias = model.get_layer("last").weights
    by_name = keras.optimizers.AdamW()
    by_name.exclude_from_weight_decay(var_names=["bias"])
    assert internals.is_excluded_from_decay(by_name, bias)
    assert not internals.is_excluded_from_decay(by_name, kernel)

    by_variable = keras.optimizers.AdamW()
    by_variable.exclude_from_weight_decay(var_list=[kernel])
    assert internals.is_excluded_from_decay(by_variable, kernel)
    assert not internals.is_excluded_from_decay(by_variable, bias)
    assert not internals.is_excluded_from_decay(keras.optimizers.AdamW(), bias)


def test_a_network_is_saved_to_memory_and_loaded_from_it():
    model = trained()
    file = io.BytesIO()
    internals.save_network(model, file)
    file.seek(0)
    twin = internals.load_network(file, None, safe_mode=True)
    for found, weight in zip(twin.weights, model.weights, strict=True):
        np.testing.assert_array_equal(numpy(found), numpy(weight))


def test_a_network_is_made_from_its_configuration_with_what_layers_share():
    shared, inputs = layers.ReLU(name="relu"), keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(4, shared, name="dense")(shared(inputs)))
    model.compile("sgd", "mse")
    twin = internals.load_configuration(model, None)
    assert twin.get_layer("dense").activation is twin.get_layer("relu")
    assert not twin.compiled and len(twin.weights) == 2


def test_saving_again_makes_no_further_optimizer(monkeypatch):
    model = trained()
    internals.save_network(model, io.BytesIO())
    made = []
    kind = keras.optimizers.Optimizer
    first = kind.__init__
    monkeypatch.setattr(kind, "__init__", lambda *a, **k: made.append(1) or first(*a, **k))
    internals.save_network(model, io.BytesIO())
    assert made == []


def test_layers_make_their_arrays_through_the_module_of_operations(monkeypatch):
    ops = internals.layer_ops()
    made = []
    zeros = ops.zeros
    monkeypatch.setattr(ops, "zeros", lambda *a, **k: made.append(1) or zeros(*a, **k))
    keras.initializers.Zeros()((2,))
    assert made


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="asks PyTorch")
def test_pytorch_works_shapes_out_on_its_meta_device():
    assert not internals.is_torch_meta()
    with keras.device("meta"):
        assert internals.is_torch_meta()


@pytest.mark.parametrize(
    ("module", "name"),
    [("keras.src.trainers.data_adapters.py_dataset_adapter", "OrderedEnqueuer")],
)
def test_what_lower_rooms_take_from_private_keras_is_there(module, name):
    # `miha.data` stands below the trainer and cannot import this room.
    assert hasattr(importlib.import_module(module), name)


def test_keras_marks_hooks_that_do_nothing():
    # `miha.integrations.keras_checks` reads the mark without an import of Keras.
    assert keras.callbacks.Callback().on_train_batch_end._is_default
