"""Odd networks: each is trained as it is, and its archives hold what was trained, or is refused."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
from keras import layers
from networks import SAMPLES, dense, images

import miha
from miha import MIHA, ArgumentError, MihaWarning, SearchSpace
from miha.trainer.genes.activations import find_slots

X = np.random.default_rng(0).normal(size=(SAMPLES, 6)).astype("float32")
Y = (X.sum(1) > 0).astype("int64")
SHORT = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 0, "verbose": 0}


def optimize(model, folder, x=X, y=Y, **changes):
    # The last network is looked at, whether it is the best or not.
    search = miha.Search(restore_best=False)
    changes = {"validation_data": (x, y), "search": search, **changes}
    return MIHA(model, x, y, logs=folder, **{**SHORT, **changes}).optimize()


def compiled(model, **settings):
    model.compile(**{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", **settings})
    return model


def assert_archives_hold_what_was_trained(result, known=None):
    for row in result.lineage.itertuples():
        loaded, _ = miha.load(result.run_dir / row.archive, known)
        loss = loaded.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
        assert loss == pytest.approx(row.value, rel=1e-4, nan_ok=True), row.change


def test_what_an_unbuilt_network_holds_already_is_kept(tmp_path):
    normalization = layers.Normalization()
    normalization.adapt(X * 5 + 3)
    model = compiled(keras.Sequential([normalization, layers.Dense(3, "relu"), layers.Dense(2)]),
                     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
    result = optimize(model, tmp_path / "run")
    np.testing.assert_array_equal(result.model.layers[0].mean, normalization.mean)
    assert not model.built


class Block(layers.Layer):
    """One activation, told once and used by a layer inside."""

    def __init__(self, units, activation, **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = units, keras.activations.get(activation)
        self.inside = layers.Dense(units, activation=self.activation)

    def build(self, shape):
        self.inside.build(shape)

    def call(self, inputs):
        return self.inside(inputs)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation}


def test_slots_that_one_setting_feeds_do_not_mutate_apart(tmp_path):
    stack = [keras.Input((6,)), Block(4, "relu"), layers.Dense(3, "relu", name="other")]
    model = compiled(keras.Sequential([*stack, layers.Dense(2, "softmax")]))
    with pytest.warns(MihaWarning, match="block"):
        result = optimize(model, tmp_path / "run", mutations=["activation"])
    assert set(result.genome.to_dict()["activations"]) == {"other"}
    assert_archives_hold_what_was_trained(result, {"Block": Block})


def test_an_activation_with_weights_stays_and_the_users_network_is_not_touched(tmp_path):
    stack = [keras.Input((6,)), layers.Dense(4, activation=layers.PReLU())]
    stack += [layers.Dense(3, "relu", name="other"), layers.Dense(2, "softmax")]
    model = compiled(keras.Sequential(stack))
    assert [slot.name for slot in find_slots(model)] == ["other"]
    model.fit(X, Y, verbose=0)  # Builds the activation, which MIHA did not.
    shapes = [tuple(variable.shape) for variable in model.variables]
    result = optimize(model, tmp_path / "run")
    assert [tuple(v.shape) for v in model.variables] == shapes
    assert_archives_hold_what_was_trained(result)


class Squeezed(keras.Model):
    """Its `call` uses TensorFlow itself, so that it cannot be called symbolically."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(4, "relu", name="hidden")
        self.last = layers.Dense(1, "sigmoid", name="last")

    def call(self, inputs):
        import tensorflow as tf

        return tf.squeeze(self.last(tf.concat([self.hidden(inputs), inputs], -1)), -1)

    def get_config(self):
        return super().get_config()


def test_where_the_output_layer_cannot_be_told_no_activation_mutates(tmp_path):
    model = compiled(Squeezed(), loss="binary_crossentropy")
    model(X[:1])
    with pytest.warns(MihaWarning) as warned:
        result = optimize(model, tmp_path / "run", y=Y.astype("float32"))
    assert any("which layer of Squeezed gives its output" in str(w.message) for w in warned)
    assert "activation" not in set(result.lineage["gene"])


def test_the_state_of_python_and_numpy_is_left_alone(tmp_path):
    model, data = dense(), images()
    before = random.getstate(), np.random.get_state()[1].tolist()
    result = optimize(model, tmp_path / "run", *data)
    miha.load(result.run_dir / "model/model_final.zip")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_averaged_weights_are_the_ones_that_are_evaluated_at_the_end(tmp_path):
    model = compiled(
        keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(2, "softmax")]),
        optimizer=keras.optimizers.Adam(0.05, use_ema=True),
    )
    result = optimize(model, tmp_path / "run", c=0, m=2)
    final = result.model.evaluate(X, Y, batch_size=16, verbose=0)
    assert result.history["val_loss"].iloc[-1] == pytest.approx(final, rel=1e-5)


class Forgetful(layers.Layer):
    """Its configuration leaves the scale out."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs * self.scale


def test_a_layer_whose_configuration_forgets_something_is_refused_by_name(tmp_path):
    stack = [keras.Input((6,)), Forgetful(100.0, name="scale"), layers.Dense(2, "softmax")]
    forgetting = keras.Sequential(stack)
    forgetting.layers[0].get_config = lambda: {"name": "scale"}
    with pytest.raises(ArgumentError, match=r"layer 'scale' \(Forgetful\).*something else"):
        optimize(compiled(forgetting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras does not know."""

    def __init__(self, rate=0.01):
        self.rate = rate

    def __call__(self, step):
        return self.rate * keras.ops.minimum(1.0, keras.ops.cast(step, "float32") / 10)

    def get_config(self):
        return {"rate": self.rate}


def test_a_schedule_of_the_users_own_is_kept(tmp_path):
    model = compiled(
        keras.Sequential([keras.Input((6,)), layers.Dense(2, "softmax")]),
        optimizer=keras.optimizers.SGD(Warmup()),
    )
    with pytest.warns(MihaWarning):
        result = optimize(model, tmp_path / "run")
    schedule = result.model.optimizer.get_config()["learning_rate"]
    assert schedule["class_name"] == "Warmup"
    assert result.genome.learning_rate is None


def test_weights_for_some_outputs_only_are_taken_as_in_fit(tmp_path):
    inputs = keras.Input((6,))
    outputs = [layers.Dense(2, "softmax", name=name)(inputs) for name in ("a", "b")]
    model = compiled(keras.Model(inputs, outputs), loss=["sparse_categorical_crossentropy"] * 2)
    weights = np.linspace(0, 2, SAMPLES).astype("float32")
    run = MIHA(model, X, [Y, Y], sample_weight=[weights, None], logs=tmp_path / "run",
               mutations=["optimizer"], **{**SHORT, "c": 0, "shuffle": False})  # fmt: skip
    result = run.optimize()
    model.fit(X, [Y, Y], 16, 2, verbose=0, shuffle=False, sample_weight=[weights, None])
    for ours, theirs in zip(result.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_of_bfloat16_runs(tmp_path):
    stack = [layers.Dense(4, "relu", dtype="bfloat16"), layers.Dense(2, "softmax")]
    result = optimize(compiled(keras.Sequential([keras.Input((6,)), *stack])), tmp_path / "run")
    assert_archives_hold_what_was_trained(result)


def test_an_activation_layer_with_two_jobs_is_left_alone(tmp_path):
    act, inputs = layers.ReLU(), keras.Input((6,))
    hidden = layers.Dense(4, activation=act)(act(layers.Dense(4)(inputs)))
    hidden = layers.Dense(4, "relu", name="other")(hidden)
    model = compiled(keras.Model(inputs, layers.Dense(2, "softmax")(hidden)))
    result = optimize(model, tmp_path / "run", mutations=["activation"])
    assert set(result.genome.to_dict()["activations"]) == {"other"}
    assert_archives_hold_what_was_trained(result)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"metrics": [keras.metrics.F1Score()], "monitor": "val_f1_score"}, "`monitor` must name"),
        ({"class_weight": {0: float("nan")}}, "`class_weight` must be"),
        ({"class_weight": [1, 2]}, "`class_weight` must be"),
        ({"validation_data": None, "validation_split": "0.2"}, "`validation_split` must be"),
        ({"space": {"optimizers": ["sgd"]}}, "`space` must be a `miha.SearchSpace`"),
        ({"fitness": "level"}, "`fitness` must be callable"),
        ({"validation_batch_size": 0}, "`validation_batch_size` must be"),
    ],
)
def test_more_bad_input_is_refused_before_anything_is_written(tmp_path, settings, named):
    settings = dict(settings)
    metrics = settings.pop("metrics", None)
    y = np.eye(2)[Y] if metrics else Y
    loss = "categorical_crossentropy" if metrics else "sparse_categorical_crossentropy"
    stack = [keras.Input((6,)), layers.Dense(2, "softmax")]
    model = compiled(keras.Sequential(stack), loss=loss, metrics=metrics)
    with pytest.raises(ArgumentError) as refused:
        optimize(model, tmp_path / "run", y=y, **settings)
    assert named in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_part_that_cannot_be_serialised_is_named_however_deep_it_is(tmp_path):
    class Opaque(layers.Layer):
        def __init__(self, thing):
            super().__init__(name="opaque")
            self.thing = thing

        def call(self, inputs):
            return inputs

    encoder = keras.Sequential([keras.Input((6,)), Opaque(object())], name="encoder")
    model = compiled(keras.Sequential([encoder, layers.Dense(2, "softmax")]))
    with pytest.raises(ArgumentError, match=r"layer 'opaque' \(Opaque\)"):
        optimize(model, tmp_path / "run")


def test_layers_are_named_as_the_users_network_names_them(tmp_path):
    stack = [layers.Dense(4, "relu", name=name) for name in ("dense_1", "dense_2")]
    model = compiled(keras.Sequential([keras.Input((6,)), *stack, layers.Dense(2, "softmax")]))
    result = optimize(model, tmp_path / "run", space=SearchSpace(layers=["dense_1"]))
    assert len(result.genome.activations) == 1


def test_aliases_of_one_activation_are_one(tmp_path):
    stack = [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(2, "softmax")]
    space = SearchSpace(activations=["swish", "silu"])
    model = compiled(keras.Sequential(stack))
    run = MIHA(model, X, Y, validation_split=0.2, space=space, logs=tmp_path / "r", **SHORT)
    assert list(run.trainer.space.slots.values()) == [("relu", "silu")]


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0},
        {"batch_size": 12.5},
        {"batch_size": 1000},
        {"learning_rate": float("nan")},
        {"learning_rate": None},
        {"optimizer": "quantum"},
        {"activations": (("dense", "cube"),)},
        {"activations": ()},
    ],
    ids=str,
)
def test_a_mutation_that_breaks_a_rule_is_named(tmp_path, change):
    class Broken(miha.Mutation):
        gene = "broken"

        def mutate(self, genome, space, rng):
            return genome.replace(**change)

    stack = [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(2, "softmax")]
    with pytest.raises(miha.MihaError, match="must return.*from Broken"):
        optimize(compiled(keras.Sequential(stack)), tmp_path / "run", mutations=[Broken()])


def test_two_runs_made_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stack = [keras.Input((6,)), layers.Dense(3, "relu"), layers.Dense(2, "softmax")]
    runs = [MIHA(compiled(keras.Sequential(stack)), X, Y, **{**SHORT, "c": 0}) for _ in range(2)]
    folders = {run.optimize().run_dir for run in runs}
    assert len(folders) == 2
