"""Noise on inputs and augmentation: what all strategies choose, and how networks train with it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from families import START, build

from miha import ArgumentError
from miha.compare.configurations import ConfigurationSpace, Regularisation
from miha.compare.regularisation import regularisation_of, regularised
from miha.compare.strategies.mutation import mutations
from miha.space import AUGMENTED_SHARES, INPUT_NOISES, SearchSpace

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(64, 4)).astype("float32") * [1, 2, 4, 0]
PHOTOGRAPHS = RNG.uniform(size=(64, 32, 32, 3)).astype("float32")
CLASSES = RNG.integers(2, size=64)
BOTH = Regularisation((0.0, 0.5), (0.0, 1.0))


def found(x, y=CLASSES, **space):
    return regularisation_of(SearchSpace(**space), x, y)


def noisy(amount, share=None):
    return START.replace(input_noise=(("x", amount),), augmentation=share)


def test_floats_have_noise_and_images_with_classes_are_augmented_as_by_default():
    assert found(TABLE) == Regularisation(INPUT_NOISES, ())
    assert found(PHOTOGRAPHS) == Regularisation(INPUT_NOISES, AUGMENTED_SHARES)
    assert found(PHOTOGRAPHS, PHOTOGRAPHS) == Regularisation(INPUT_NOISES, ())
    assert found(RNG.integers(9, size=(64, 4))) == Regularisation()


def test_the_space_says_how_much_noise_and_whether_there_is_augmentation():
    assert found(PHOTOGRAPHS, input_noise=[0.3], augmentation=()) == Regularisation((0.0, 0.3), ())
    assert found(TABLE, input_noise=[0.0]) == Regularisation()


def test_layers_of_the_users_own_are_refused_with_the_cure():
    with pytest.raises(ArgumentError, match="Put them into the network that `build_model` returns"):
        found(PHOTOGRAPHS, augmentation=[keras.layers.RandomFlip()])


def test_a_configuration_has_both_and_a_start_has_neither():
    space = ConfigurationSpace.of(SearchSpace(), [START], BOTH)
    assert space.choices["input noise"] == BOTH.input_noise
    assert space.choices["augmentation"] == BOTH.augmentation
    assert space.values(START)["input noise"] == space.values(START)["augmentation"] == 0.0
    assert space.genome(space.values(noisy(0.5, 1.0))) == noisy(0.5, 1.0)

    rng = np.random.default_rng(0)
    drawn = [space.draw(rng) for _ in range(20)]
    assert {genome.input_noise for genome in drawn} == {(("x", 0.0),), (("x", 0.5),)}
    assert {genome.augmentation for genome in drawn} == {0.0, 1.0}
    starts = [space.draw(rng, alike=True) for _ in range(20)]
    assert {genome.input_noise for genome in starts} == {(("x", 0.0),)}
    assert {genome.augmentation for genome in starts} == {0.0}


def test_miha_mutates_what_the_others_choose():
    plain = ConfigurationSpace.of(SearchSpace(), [START])
    both = ConfigurationSpace.of(SearchSpace(), [START], BOTH)
    assert not {"input_noise", "augmentation"} & set(mutations(plain)[2:])
    assert {"input_noise", "augmentation"} <= set(mutations(both)[2:])
    assert both.search_space.input_noise == (0.0, 0.5) and both.search_space.augmentation == "auto"
    assert plain.search_space.augmentation == ()


def test_a_network_without_noise_is_the_users():
    model = build(START)
    assert regularised(model, START, TABLE) is model
    assert regularised(model, noisy(0.0, 0.0), TABLE) is model


def test_a_network_with_noise_has_the_same_weights_and_values_and_is_compiled_alike():
    model = build(START)
    around = regularised(model, noisy(0.5), TABLE)
    for own, other in zip(model.get_weights(), around.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(model(TABLE), around(TABLE))
    assert around.optimizer is model.optimizer
    around.fit(TABLE, CLASSES, epochs=1, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], around.get_weights()[0])


def test_noise_is_drawn_anew_in_the_spread_of_each_feature():
    around = regularised(build(START), noisy(0.5), TABLE)
    change = around.layers[1]
    first, second = (np.asarray(change(TABLE, training=True)) - TABLE for _ in range(2))
    assert not np.array_equal(first, second)
    spread = np.concatenate([first, second]).std(axis=0)
    np.testing.assert_allclose(spread, 0.5 * TABLE.std(axis=0), rtol=0.3)
    np.testing.assert_array_equal(change(TABLE), TABLE)


def test_a_share_of_the_images_is_changed():
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    model.compile("sgd", "mse")
    change = regularised(model, noisy(0.0, 0.5), PHOTOGRAPHS).layers[1]
    changed = np.asarray(change(PHOTOGRAPHS, training=True)) != PHOTOGRAPHS
    assert 16 <= changed.any(axis=(1, 2, 3)).sum() <= 48
