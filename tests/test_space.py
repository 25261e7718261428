"""The search space: what may be wished, and what one network allows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from miha.errors import ArgumentError
from miha.space import ACTIVATIONS, OPTIMIZERS, SearchSpace, batch_size_bounds, values_of


def test_the_default_space_holds_every_optimizer_and_activation():
    space = SearchSpace()
    assert (tuple(space.optimizers), tuple(space.activations)) == (OPTIMIZERS, ACTIVATIONS)
    assert space.layers is None
    assert space.batch_size is None


def test_a_list_of_names_is_taken_as_it_is():
    assert SearchSpace(optimizers=["Adam"], layers=["encoder/dense"]).optimizers == ["Adam"]


@pytest.mark.parametrize("name", ["optimizers", "activations", "layers"])
@pytest.mark.parametrize("names", ["adam", [], [3], ["adam", None]])
def test_names_must_be_a_list_of_at_least_one_name(name, names):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a list.*Received: {name}="):
        SearchSpace(**{name: names})


@pytest.mark.parametrize("name", ["batch_size", "learning_rate"])
@pytest.mark.parametrize("bounds", [(2, 1), (0, 1), (-1, 1), (1,), (1, 2, 3), 5, (math.nan, 1)])
def test_bounds_must_be_positive_and_in_order(name, bounds):
    with pytest.raises(ArgumentError, match=f"`{name}` must be two bounds.*Received: {name}="):
        SearchSpace(**{name: bounds})


def test_bounds_may_be_equal():
    assert SearchSpace(batch_size=(32, 32)).batch_size == (32, 32)


def test_bounds_of_the_batch_size_must_be_integers():
    with pytest.raises(ArgumentError, match="batch_size"):
        SearchSpace(batch_size=(8.5, 64.5))


@pytest.mark.parametrize("name", ["batch_size", "learning_rate"])
def test_bounds_that_are_no_numbers_are_refused(name):
    with pytest.raises(ArgumentError, match=name):
        SearchSpace(**{name: ("8", "64")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", -1e-9),
        ("weight_decay", math.inf),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("noise", 1.5),
        ("label_smoothing", 1),
        ("label_smoothing", math.nan),
        ("input_noise", -0.1),
        ("input_noise", 10.5),
        ("input_noise", math.inf),
        ("dropout", "0.5"),
        ("dropout", True),
    ],
)
def test_values_must_be_numbers_in_their_range(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a list.*Received: {name}="):
        SearchSpace(**{name: [value]})


NUMBERS = ("weight_decay", "dropout", "noise", "label_smoothing", "input_noise")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("values", [[], 0.5, None, "0.5"])
def test_values_must_be_a_list_of_at_least_one(name, values):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a list"):
        SearchSpace(**{name: values})


@pytest.mark.parametrize("layers", [None, "flip", abs, [abs, "flip"], [0.5]])
def test_what_augments_must_be_a_list_of_layers(layers):
    with pytest.raises(ArgumentError, match="`augmentation` must be a list of Keras layers"):
        SearchSpace(augmentation=layers)


def test_images_are_augmented_by_the_usual_layers_unless_others_are_named():
    assert SearchSpace().augmentation == "auto"
    assert SearchSpace(augmentation=()).augmentation == ()
    assert SearchSpace(augmentation=(abs,)).augmentation == (abs,)


@pytest.mark.parametrize("name", ["momentum", "losses"])
def test_values_of_a_gene_that_is_gone_are_refused_by_name(name):
    with pytest.raises(ArgumentError, match=f"SearchSpace` no longer has .*`{name}`.* stays"):
        SearchSpace(**{name: [0.9]})


def test_the_own_value_comes_first_and_once():
    assert values_of(0.3, (0.0, 0.3, 0.5)) == (0.3, 0.0, 0.5)
    assert values_of(0, (0.5,)) == (0.0, 0.5)


def test_an_error_of_the_space_is_a_value_error():
    with pytest.raises(ValueError, match="Give the smaller one first"):
        SearchSpace(learning_rate=(0.1, 0.01))


@pytest.mark.parametrize(
    ("wish", "batch_size", "samples", "bounds"),
    [
        (None, 32, 10_000, (8, 512)),
        (None, 4, 10_000, (4, 512)),
        (None, 1024, 10_000, (8, 1024)),
        (None, 32, 100, (8, 100)),
        (None, 3, 5, (3, 5)),
        ((16, 64), 32, 10_000, (16, 64)),
        ((16, 64), 128, 10_000, (16, 128)),
        ((64, 512), 32, 40, (32, 40)),
    ],
)
def test_the_batch_size_is_bounded_by_wish_network_and_data(wish, batch_size, samples, bounds):
    assert batch_size_bounds(wish, batch_size, samples) == bounds


def test_the_networks_own_batch_size_is_always_within_the_bounds():
    rng = np.random.default_rng(0)
    for _ in range(500):
        samples = int(rng.integers(1, 2000))
        batch_size = int(rng.integers(1, samples + 1))
        wish = tuple(sorted(int(size) for size in rng.integers(1, 2000, 2)))
        low, high = batch_size_bounds(wish, batch_size, samples)
        assert 1 <= low <= batch_size <= high <= samples
