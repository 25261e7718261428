"""A copy is compiled as the network really is, whatever Keras has written down of it."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

import miha
from miha import MihaWarning
from miha.data.arrays import Data
from miha.trainer.network.compilation import check_same, nameless, words
from miha.trainer.network.fingerprint import fingerprint
from miha.trainer.network.survey import Survey

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
SHORT = {
    "validation_data": (X, Y),
    "m": 1,
    "n": 1,
    "k": 1,
    "c": 1,
    "pop_size": 2,
    "seed": 0,
    "verbose": 0,
    "keep": "all",
}


def network(optimizer="adam", loss="mean_squared_error", **settings):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile(optimizer, loss, **settings)
    return model


def sgd():
    return keras.optimizers.SGD(0.3, momentum=0.9)


def saved(folder):
    model = network(sgd())
    model.train_on_batch(X, Y)
    model.save(folder / "network.h5")
    return model


def loaded(folder):
    saved(folder)
    return keras.models.load_model(folder / "network.h5")


def by_attribute(folder):
    model = network()
    model.train_on_batch(X, Y)
    model.optimizer = sgd()
    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", [saved, loaded, by_attribute])
def test_a_copy_has_the_optimizer_that_the_network_has(tmp_path, make):
    model = make(tmp_path)
    before = dict(vars(model))
    optimizer = Survey(model).copy().network.optimizer
    assert type(optimizer) is keras.optimizers.SGD
    assert optimizer.momentum == 0.9
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    assert vars(model).keys() == before.keys()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_copy_of_what_was_saved_to_h5_has_the_moments_of_its_optimizer(tmp_path):
    model = saved(tmp_path)
    found = Survey(model).copy().network.optimizer.variables
    for own, copied in zip(model.optimizer.variables, found, strict=True):
        np.testing.assert_array_equal(own, copied)


@pytest.mark.filterwarnings("ignore:.*HDF5:UserWarning")
def test_an_optimizer_that_h5_has_left_without_state_begins_as_a_new_one(tmp_path):
    model = loaded(tmp_path)
    with pytest.warns(MihaWarning, match="no state, as Keras reads networks from .h5"):
        run = miha.MIHA(model, X, Y, mutations=["batch_size"], logs=tmp_path / "run", **SHORT)
    assert run.genome.optimizer == "sgd" and run.genome.learning_rate == 0.3


def test_a_later_compile_without_loss_and_metrics_leaves_those_of_the_first():
    model = network(loss="mae", metrics=["mse"])
    model.compile("sgd")
    twin = Survey(model).copy().network
    own, copied = (m.evaluate(X, Y, verbose=0, return_dict=True) for m in (model, twin))
    assert set(own) == {"loss", "mse"}
    assert copied == pytest.approx(own)


def test_a_copy_with_another_optimizer_loss_or_metric_is_noticed():
    model = network(sgd(), metrics=["mae"])
    check_same(network(sgd(), metrics=["mae"]), model)
    with pytest.raises(ValueError, match=r"SGD\(.*momentum=0.9.*trained by SGD"):
        check_same(network("sgd", metrics=["mae"]), model)
    with pytest.raises(ValueError, match="`loss` is"):
        check_same(network(sgd(), "mae", metrics=["mae"]), model)
    with pytest.raises(ValueError, match="`metrics` is"):
        check_same(network(sgd()), model)


def powered(y_true, y_pred, power):
    return ops.mean(ops.abs(y_true - y_pred) ** power)


def test_what_has_no_name_is_found_wherever_it_stands():
    power = np.array(1.5)
    around = lambda y, p: ops.mean(ops.abs(y - p))  # noqa: E731
    closed = lambda y, p: (y - p) ** power  # noqa: E731
    alone = lambda y, p: (y - p) ** 2  # noqa: E731
    given = partial(powered, power=1.5)
    metrics = ["mae", around, closed, alone, powered, given, keras.metrics.MeanSquaredError()]
    found = nameless(network(loss=around, metrics=metrics))
    assert found == {"loss": {0: around}, "metrics": {1: around, 2: closed, 5: given}}
    assert words({"loss": {0: around}}) == "a lambda in `loss`"
    assert words({"metrics": {5: given}}) == "a partial in `metrics`"


@pytest.mark.parametrize("is_partial", [False, True])
def test_a_loss_without_a_name_trains_and_the_result_is_compiled_with_it(tmp_path, is_partial):
    own = partial(powered, power=1.5) if is_partial else lambda y, p: ops.mean(ops.abs(y - p))
    model = network(loss=own, metrics=["mae"])
    with pytest.warns(MihaWarning, match="without a .* in `loss`"):
        run = miha.MIHA(model, X, Y, mutations=["optimizer"], logs=tmp_path / "run", **SHORT)
        result = run.optimize()
    expected = own(ops.array(Y), result.model(X))
    assert result.model.evaluate(X, Y, verbose=0)[0] == pytest.approx(float(expected), rel=1e-5)

    # Anyone can open the archive: it has weights, layers, optimizer and what has a name.
    plain, _ = miha.load(result.run_dir / "model" / "model_final.zip")
    assert type(plain.optimizer) is type(result.model.optimizer)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), result.model.predict(X, verbose=0))


def test_a_run_is_known_by_what_a_loss_without_a_name_does():
    power = 2.0
    losses = [
        lambda y, p: ops.mean((y - p) ** power),
        lambda y, p: ops.mean((y - p) ** power),
        lambda y, p: ops.mean(ops.abs(y - p)),
    ]
    first, second, third = (fingerprint(network(loss=loss), Data(X, Y)) for loss in losses)
    assert first == second and first["code"] != third["code"]
