"""What a restart begins with: fresh weights, and statistics of the data."""

import keras
import numpy as np
import pytest
from keras import layers

from miha.trainer.transitions.fresh import take_statistics

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (256, 6)).astype("float32")


def network(**options):
    inputs = keras.Input((6,))
    hidden = layers.Dropout(0.5, seed=1)(inputs)
    normalized = layers.BatchNormalization(**options)
    return keras.Model(inputs, layers.Dense(2)(normalized(hidden))), normalized


def test_running_statistics_begin_with_those_of_the_samples():
    model, normalized = network(momentum=0.9)
    model.layers[1].rate = 0
    take_statistics(model, X)
    np.testing.assert_allclose(normalized.moving_mean, X.mean(0), rtol=1e-4)
    np.testing.assert_allclose(normalized.moving_variance, X.var(0), rtol=1e-4)
    assert normalized.momentum == 0.9


def test_all_other_values_stay_seeds_too():
    model, normalized = network()
    statistics = [normalized.moving_mean, normalized.moving_variance]
    others = [v for v in model.variables if not any(v is one for one in statistics)]
    assert any("seed" in variable.path for variable in others)
    before = [np.array(variable) for variable in others]
    take_statistics(model, X)
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_frozen_statistics_stay():
    model, normalized = network()
    normalized.trainable = False
    take_statistics(model, X)
    assert not np.any(normalized.moving_mean)


def test_the_momentum_comes_back_when_a_call_fails():
    model, normalized = network()
    with pytest.raises(ValueError, match="shape"):
        take_statistics(model, X[:, :2])
    assert normalized.momentum == 0.99
