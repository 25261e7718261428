"""One step on the first samples: what it tells, and what an error of it tells the user."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from networks import custom_step, images

import miha
from miha.errors import ArgumentError, MihaWarning

SHORT = {"m": 1, "n": 1, "k": 1, "c": 1, "pop_size": 2, "batch_size": 16, "verbose": 0, "seed": 0}
X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
ONE_HOT = np.eye(2, dtype="float32")[Y]
TEXT = np.where(Y > 0, "yes", "no")
SPARSE = "sparse_categorical_crossentropy"


def network(units=2, loss=SPARSE):
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(2, "relu"), layers.Dense(units, "softmax")]
    )
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("loss", "y", "validation", "words"),
    [
        (
            SPARSE,
            Y,
            (X[:, :5], Y),
            r"first samples of the validation data.*\(2, 5\).*shapes of `x`",
        ),
        (SPARSE, Y, (X, ONE_HOT), r"of the validation data.*The targets are one-hot.*argmax"),
        (SPARSE, ONE_HOT, None, r"first samples, of.*The targets are one-hot.*argmax\(-1\)"),
        ("categorical_crossentropy", Y, None, "targets are labels.*to_categorical"),
        ("mse", np.zeros((40, 5)), None, r"The output is of shape \[\(2, 2\)\], the targets of"),
        (SPARSE, TEXT, None, r"Labels must be numbers. Received: text, such as '(yes|no)'.*unique"),
        (SPARSE, Y, (X, TEXT), "Labels must be numbers. Received: text"),
        # The first samples have them already: the step fails in words of the backend.
        (SPARSE, Y + 1, None, "Labels must be whole numbers from 0 to 1.*training data"),
        (SPARSE, Y, (X, Y + 1), "Labels must be whole numbers from 0 to 1.*validation data"),
        (SPARSE, None, None, "There are no targets: give `y`"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_cure(tmp_path, loss, y, validation, words):
    with pytest.raises(ArgumentError, match=f"(?s){words}"):
        miha.MIHA(
            network(loss=loss), X, y, validation_data=validation, logs=tmp_path / "run", **SHORT
        )
    assert not (tmp_path / "run").exists()


def two_outputs(are_named):
    inputs = keras.Input((6,))
    outputs = {"cls": layers.Dense(2, "softmax", name="cls"), "reg": layers.Dense(1, name="reg")}
    outputs = {name: layer(inputs) for name, layer in outputs.items()}
    model = keras.Model(inputs, outputs if are_named else list(outputs.values()))
    model.compile("sgd", {"cls": SPARSE, "reg": "mse"}, run_eagerly=True)
    return model


TARGETS = {"cls": Y, "reg": X[:, :1]}
WEIGHTS = {"cls": X[:, 0] ** 2, "reg": X[:, 0] ** 2}


def renamed(values):
    return {"cls": values["cls"], "regg": values["reg"]}


@pytest.mark.parametrize("are_named", [True, False])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": renamed(TARGETS)}, r"of targets must.*'regg'\], and.*'reg'\]. Did you mean 'reg'"),
        ({"y": {"cls": Y}}, r"of targets must.*keys \['cls'\], and outputs \['cls', 'reg'\]. G"),
        ({"y": {**TARGETS, "z": Y}}, "of targets must.*the keys.*'z'"),
        ({"validation_data": (X, renamed(TARGETS))}, "of targets of the validation data must"),
        ({"sample_weight": renamed(WEIGHTS)}, "of sample weights must.*Did you mean 'reg'"),
    ],
)
def test_a_wrong_key_of_targets_or_weights_is_named(tmp_path, are_named, changes, words):
    arguments = {"y": TARGETS, "logs": tmp_path / "run", **SHORT, **changes}
    with pytest.raises(ArgumentError, match=words):
        miha.MIHA(two_outputs(are_named), X, **arguments)


def test_right_keys_are_not_blamed_for_another_fault(tmp_path):
    model = two_outputs(are_named=True)
    # As in `fit`, an output without a loss needs no targets.
    model.compile("sgd", {"cls": "categorical_crossentropy", "reg": None}, run_eagerly=True)
    with pytest.raises(ArgumentError, match="The network must accept the data"):
        miha.MIHA(model, X, {"cls": Y}, logs=tmp_path / "run", **SHORT)


def test_what_the_user_did_not_write_is_adapted_as_in_fit(tmp_path):
    arguments = {**SHORT, "batch_size": None, "validation_data": (X, Y), "logs": tmp_path / "run"}
    few = miha.MIHA(network(), X[:20], Y[:20], callbacks=miha.Callback(), **arguments)
    assert few.genome.batch_size == 20
    assert miha.MIHA(network(), X, Y, **arguments).genome.batch_size == 32


def test_values_may_be_missing_where_the_user_says_so(tmp_path):
    x = np.where(X > 2, np.nan, X)
    arguments = {**SHORT, "validation_data": (x, Y), "logs": tmp_path / "run"}
    with pytest.raises(ArgumentError, match=r"execution=miha.Execution\(check_finite=False\)"):
        miha.MIHA(network(), x, Y, **arguments)
    miha.MIHA(network(), x, Y, execution=miha.Execution(check_finite=False), **arguments)


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    @keras.saving.register_keras_serializable("miha_tests")
    class Encoder(keras.Model):
        """Trains by a step of its own, which logs what no test step would."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner, self.outer = layers.Dense(2), layers.Dense(6)
            self.error = keras.metrics.Mean(name="error")

        @property
        def metrics(self):
            return [self.error]

        def call(self, x):
            return self.outer(self.inner(x))

        def train_step(self, x):
            with tf.GradientTape() as tape:
                error = ops.mean((self(x) - x) ** 2)
            gradients = tape.gradient(error, self.trainable_weights)
            self.optimizer.apply(gradients, self.trainable_weights)
            self.error.update_state(error)
            return {"loss": self.error.result(), "error": self.error.result()}

    def encoder(**settings):
        model = Encoder()
        model.compile("adam", **settings)
        model(X[:2])
        return model

    CHANGES = {**SHORT, "mutations": ["batch_size"]}

    def test_a_network_with_a_training_step_alone_is_compared_by_what_that_logs(tmp_path):
        with pytest.warns(MihaWarning, match="clones are compared by 'loss'"):
            run = miha.MIHA(encoder(), X, logs=tmp_path / "a", **CHANGES)
        assert run.optimize().monitor == "loss"
        changes = {**CHANGES, "monitor": "error", "mode": "min"}
        result = miha.MIHA(encoder(), X, logs=tmp_path / "b", **changes).optimize()
        assert {"loss", "error"} < set(result.history) and "eval_loss" not in result.history

    def test_what_needs_an_evaluation_is_told_that_there_is_no_test_step(tmp_path):
        arguments = {**CHANGES, "logs": tmp_path / "run"}
        with pytest.raises(
            ArgumentError, match="(?s)`train_step` of its own.*`test_step`.*'encoder"
        ):
            miha.MIHA(encoder(), X, validation_data=(X,), **arguments)
        with pytest.raises(ArgumentError, match="`monitor` must name a value that is logged"):
            miha.MIHA(encoder(), X, monitor="eval_loss", **arguments)

    def test_a_training_step_beside_a_compiled_loss_logs_what_it_logs(tmp_path):
        changes = {**CHANGES, "validation_data": (X, X), "monitor": "val_error", "mode": "min"}
        run = miha.MIHA(encoder(loss="mse"), X, logs=tmp_path / "run", **changes)
        assert {"loss", "error", "val_error"} == set(run.trainer.metrics)


def test_a_training_step_of_the_users_is_probed_on_a_copy(tmp_path):
    model = custom_step()
    before = [np.array(weight) for weight in model.weights]
    data = images(32)
    run = miha.MIHA(model, *data, validation_data=data, logs=tmp_path / "run", **SHORT)
    assert {"loss", "val_loss"} <= set(run.trainer.metrics)
    for ours, theirs in zip(run.trainer.snapshot().variables, before, strict=False):
        np.testing.assert_array_equal(ours, theirs)
