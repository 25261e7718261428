"""What cannot be trained faithfully is refused, by name, before anything is written."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from kinds import Powered, attention, away
from networks import dense

import miha
from miha import ArgumentError
from miha.errors import first_line
from miha.trainer.genes.activations import find_slots
from miha.trainer.genes.mutable import choose_slots
from miha.trainer.network import copies
from miha.trainer.network.survey import Survey

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = (X.sum(1) > 0).astype("int64")
SHORT = {"m": 1, "n": 1, "k": 1, "c": 1, "pop_size": 2, "batch_size": 16, "seed": 0, "verbose": 0}
SHORT["mutations"] = ["optimizer"]


def network(*stack, shape=(6,), **settings):
    stack = [*stack, layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential([keras.Input(shape), *stack])
    model.compile(**{"optimizer": "adam", "loss": "sparse_categorical_crossentropy"} | settings)
    return model


def refuse(folder, model, x=X, y=Y):
    """Return why a network is refused; nothing may have been written."""
    with pytest.raises(ArgumentError) as refused:
        miha.MIHA(model, x, y, validation_data=(x, y), logs=folder / "run", **SHORT).optimize()
    assert not (folder / "run").exists()
    return str(refused.value)


@pytest.mark.parametrize(("kind", "is_built"), [(layers.LSTM, True), (layers.GRU, False)])
def test_a_state_that_is_carried_from_batch_to_batch(tmp_path, kind, is_built):
    shape = [keras.Input((3, 2), batch_size=16)] if is_built else []
    model = keras.Sequential([*shape, kind(4, stateful=True, name="carries"), layers.Dense(2)])
    model.compile("adam", "mse")
    why = refuse(tmp_path, model, X.reshape(32, 3, 2), X[:, :2])
    assert f"layer 'carries' ({kind.__name__})" in why and "stateful=False" in why


def test_a_state_within_a_wrapper(tmp_path):
    wrapped = layers.Bidirectional(layers.LSTM(2, stateful=True))
    model = keras.Sequential([keras.Input((3, 2), batch_size=16), wrapped, layers.Dense(2)])
    model.compile("adam", "mse")
    assert "LSTM" in refuse(tmp_path, model, X.reshape(32, 3, 2), X[:, :2])


@pytest.mark.parametrize("mode", ["int8", "float8"])
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
def test_quantized_weights(tmp_path, mode):
    model = network(layers.Dense(4, name="hidden"))
    model.quantize(mode)
    model.compile("adam", "sparse_categorical_crossentropy")
    assert "not quantized. Received: layer 'hidden' (Dense)" in refuse(tmp_path, model)


@pytest.mark.parametrize("is_built", [True, False])
def test_lora(tmp_path, is_built):
    hidden = layers.Dense(4, name="hidden", lora_rank=None if is_built else 2)
    model = network(hidden)
    if is_built:
        hidden.enable_lora(2)
    assert "LoRA into the kernel and forgets them. Received: layer 'hidden'" in refuse(
        tmp_path, model
    )


class Adversaries(keras.Model):
    """Two networks with an optimizer each, as in Keras' own examples of GANs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.critic = keras.Sequential([keras.Input((6,)), layers.Dense(1)])

    def compile(self, critic_optimizer, optimizer, **kwargs):
        super().compile(optimizer=optimizer, loss="mse", **kwargs)
        self.critic_optimizer = critic_optimizer

    def call(self, inputs):
        return self.critic(inputs)


class Frozen(keras.Model):
    """A network of a class of its own, of which somebody else freezes a part."""

    def __init__(self, freezes=False, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(4, activation="relu", name="hidden")
        self.last = layers.Dense(2, activation="softmax", name="last")
        self.hidden.trainable = not freezes
        self.freezes = freezes

    def get_config(self):
        return {**super().get_config(), "freezes": self.freezes}

    def call(self, inputs):
        return self.last(self.hidden(inputs))


@pytest.mark.parametrize("part", ["layer", "variable"])
def test_what_is_frozen_but_would_not_be_when_loaded(tmp_path, part):
    model = Frozen()
    model(X[:1])
    frozen = model.hidden if part == "layer" else model.hidden.kernel
    frozen.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    why = refuse(tmp_path, model)
    assert "hidden/kernel' is frozen, and is otherwise when loaded" in why


def test_what_is_frozen_before_it_is_built(tmp_path):
    model = Frozen()
    model.hidden.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    assert "layer 'hidden' is frozen, and is otherwise when" in refuse(tmp_path, model)


def test_attention_that_is_frozen(tmp_path):
    inputs = keras.Input((3, 2))
    attention = layers.MultiHeadAttention(1, 2, name="attends")
    x = layers.Flatten()(attention(inputs, inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    attention.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    why = refuse(tmp_path, model, X.reshape(32, 3, 2))
    assert "is frozen, and is otherwise when loaded" in why and "such as attention" in why


def test_a_network_that_is_frozen_as_a_whole_but_for_its_last_layer_is_admitted(tmp_path):
    base = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.BatchNormalization()])
    base.trainable = False
    model = network(base)
    assert len(model.trainable_variables) == 2
    result = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path, **SHORT).optimize()
    assert len(result.model.trainable_variables) == 2


def test_what_is_frozen_by_its_class_stays_frozen(tmp_path):
    model = Frozen(freezes=True)
    model(X[:1])
    model.compile("adam", "sparse_categorical_crossentropy")
    before = np.array(model.hidden.kernel)
    result = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path, **SHORT).optimize()
    np.testing.assert_array_equal(result.model.hidden.kernel, before)


def test_variables_that_are_excluded_from_weight_decay(tmp_path):
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    why = refuse(tmp_path, network(layers.Dense(4, name="hidden"), optimizer=optimizer))
    assert "hidden/bias' is excluded from weight decay, and is not when loaded" in why


def test_nothing_is_lost_where_nothing_decays(tmp_path):
    optimizer = keras.optimizers.Adam()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = network(layers.Dense(4), optimizer=optimizer)
    run = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path, **SHORT)
    assert run.genome.optimizer == "adam" and run.genome.weight_decay is None


class Excludes(keras.optimizers.AdamW):
    """An optimizer that spares the biases by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize("is_fit", [True, False])
def test_an_optimizer_that_excludes_by_itself_is_admitted(tmp_path, is_fit):
    model = network(layers.Dense(4), optimizer=Excludes(weight_decay=0.5))
    if is_fit:
        model.fit(X, Y, verbose=0)
    result = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path, **SHORT).optimize()
    assert len(result.history) == 5


def test_a_second_optimizer(tmp_path):
    model = Adversaries()
    model(X[:1])
    model.compile(keras.optimizers.SGD(), keras.optimizers.Adam())
    assert "another one, SGD, as `critic_optimizer`" in refuse(tmp_path, model)


def test_a_second_optimizer_in_a_list(tmp_path):
    model = network(layers.Dense(4))
    model.others = [keras.optimizers.Lion()]
    assert "another one, Lion, as `others`" in refuse(tmp_path, model)


def test_a_loss_scaled_optimizer_is_one(tmp_path):
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model = network(layers.Dense(4), optimizer=scaled)
    run = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path / "run", **SHORT)
    assert run.genome.optimizer == "adam"


class Uncompiled(keras.Model):
    """Its `compile` keeps everything to itself."""

    def compile(self, own_optimizer):
        super().compile(optimizer=None)
        self.own = own_optimizer.name

    def call(self, inputs):
        return inputs


def test_a_compile_that_sets_no_optimizer(tmp_path):
    model = Uncompiled()
    model.compile(keras.optimizers.SGD())
    assert "`model` must be compiled with an optimizer" in refuse(tmp_path, model)


class Foreign(layers.Layer):
    """Keeps a mean in a variable of TensorFlow's."""

    def __init__(self, hold=lambda variable: variable, **kwargs):
        super().__init__(**kwargs)
        self.mean = hold(tf.Variable(np.zeros(6, "float32"), trainable=False))

    def call(self, inputs):
        return inputs


class Module(tf.Module):
    def __init__(self, variable):
        super().__init__()
        self.variable = variable


HOLDS = {"alone": lambda v: v, "list": lambda v: [v], "dict": lambda v: {"a": v}, "module": Module}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
def test_variables_that_keras_does_not_know(tmp_path, hold):
    model = network(Foreign(hold, name="foreign"))
    assert "['foreign.mean of TensorFlow']" in refuse(tmp_path, model)


OUTSIDE = 2.0


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: ops.abs(x), "ops"),
        (lambda x: x * OUTSIDE, "OUTSIDE"),
        (lambda x: (lambda y: y * OUTSIDE)(x), "OUTSIDE"),
    ],
    ids=["module", "value", "nested"],
)
def test_a_lambda_layer_that_uses_what_is_around_it(tmp_path, function, name):
    why = refuse(tmp_path, network(layers.Lambda(function, name="tricky")))
    assert "layer 'tricky' (Lambda)" in why and f"uses ['{name}']" in why


def test_a_lambda_that_uses_its_arguments_and_builtins_is_admitted(tmp_path):
    model = network(layers.Lambda(lambda x: x * float(abs(-2)), output_shape=(6,)))
    run = miha.MIHA(model, X, Y, validation_data=(X, Y), logs=tmp_path / "run", **SHORT)
    loaded = run.trainer.load(run.trainer.export(run.trainer.snapshot(), run.genome))
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def powered(power):
    def own(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** power, axis=-1)

    return own


def test_two_losses_of_one_name(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile("adam", powered(2.0), metrics=[powered(1.0)])
    assert "two called 'own'" in refuse(tmp_path, model, y=X[:, :1])


def test_one_function_in_two_places_is_one(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile("adam", away, metrics=[away, Powered()])
    data = {"validation_data": (X, X[:, :1]), "logs": tmp_path / "run"}
    run = miha.MIHA(model, X, X[:, :1], **data, **SHORT)
    assert {"loss", "away", "val_away"} <= {*run.trainer.metrics}


class Nameless(keras.losses.Loss):
    """Its configuration lacks its argument."""

    def __init__(self, power):
        super().__init__()
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)


def test_a_loss_that_no_archive_can_hold(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile("adam", Nameless(2.0))
    assert "whose loss Nameless does not" in refuse(tmp_path, model, y=X[:, :1])


class Secretive(layers.Layer):
    """Archives another value than it has."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale

    def save_own_variables(self, store):
        store["0"] = np.zeros(())


def test_a_weight_that_an_archive_does_not_give_back(tmp_path):
    assert "secretive/scale' has another value when loaded" in refuse(
        tmp_path, network(Secretive(name="secretive"))
    )


class Picky(layers.Layer):
    """Works in the user's network, and fails in a copy of it."""

    def __init__(self, works=False, **kwargs):
        super().__init__(**kwargs)
        self.works = works

    def call(self, inputs):
        is_connected = isinstance(inputs, keras.KerasTensor) or not tf.executing_eagerly()
        if not (self.works or is_connected):
            raise RuntimeError("This is a copy.")
        return inputs

    def get_config(self):
        return {"name": self.name}


def test_a_layer_that_fails_in_a_copy(tmp_path):
    why = refuse(tmp_path, network(Picky(works=True, name="picky")))
    assert "layer 'picky' (Picky)" in why and "This is a copy." in why


class Sized(keras.Model):
    """Has an argument that its configuration lacks."""

    def __init__(self, units):
        super().__init__()
        self.outer = layers.Dense(units, "softmax")

    def call(self, inputs):
        return self.outer(inputs)


class Narrow(Sized):
    """Its constructor does not take what every configuration has."""

    def __init__(self):
        super().__init__(4)


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Sized(4), "whose class Sized does not: Object Sized was.* override `get_config"),
        (Narrow, "whose class Narrow does not: Narrow.__init__.. got an unexpected keyword"),
    ],
)
def test_a_class_without_a_configuration_is_told_to_have_one(tmp_path, make, why, is_built):
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    if is_built:
        model(X[:1])
    said = refuse(tmp_path, model)
    assert re.search(why, said) and "Give a class a `get_config`" in said


def test_data_that_does_not_fit_the_network(tmp_path):
    why = refuse(tmp_path, network(layers.Dense(4)), x=X[:, :3])
    assert "The network must accept the data" in why and "(2, 3)" in why


def test_text_goes_into_a_network_that_takes_it(tmp_path):
    x = np.array([["cat"], ["dog"]] * 16)
    lookup = layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot")
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(lookup(inputs)))
    model.compile("adam", "sparse_categorical_crossentropy")
    y = np.array([0, 1] * 16)
    short = {**SHORT, "c": 0}
    run = miha.MIHA(model, x, y, validation_data=(x, y), logs=tmp_path / "run", **short)
    history = run.optimize().history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_attention_keeps_its_softmax_and_what_is_inside_it():
    found = [slot.name for slot in find_slots(attention()) if slot.is_chosen_by_default]
    assert found == ["forward"]


def test_what_is_frozen_keeps_its_activation_unless_it_is_named():
    base = keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu"), layers.ReLU()], name="b")
    base.trainable = False
    model = network(base, layers.Dense(4, "relu", name="own"))
    names = [slot.name for slot in find_slots(model) if slot.is_chosen_by_default]
    assert names == ["own"]
    space = miha.SearchSpace(layers=["b/dense"])
    assert list(choose_slots(Survey(model), space, X[:1]).values()) == ["b/dense"]


def test_slots_of_keras_own_layers_are_vetted_at_once(monkeypatch):
    made, reconfigure = [], copies.reconfigure
    monkeypatch.setattr(copies, "reconfigure", lambda *args: made.append(1) or reconfigure(*args))
    assert len(choose_slots(Survey(dense()), miha.SearchSpace(), None)) == 2
    assert len(made) == 1


def test_the_line_of_an_error_that_tells_something_is_found():
    text = "Exception encountered when calling Dense.call().\n\n\x1b[1mIt is too hot\x1b[0m\n\nMore"
    assert first_line(ValueError(text)) == "It is too hot."
    assert first_line(ValueError("Plain.\nMore")) == "Plain."
    wrapped = "\nIt was passed\nvalues that\n`fit` takes. Twice.\n\nExample:\n  a\nb"
    assert first_line(ValueError(wrapped)) == "It was passed values that `fit` takes. Twice."
    assert first_line(ValueError("Too\nHot\n  cold")) == "Too."
    unread = "It could not be read. Help.\n\nException encountered: No key."
    assert first_line(ValueError(unread)) == "No key."
    assert first_line(ValueError()) == "ValueError()."
