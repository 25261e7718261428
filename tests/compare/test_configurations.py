"""The space that all strategies choose from."""

from __future__ import annotations

import pytest
import rivals
from compared import MIHA, run

from miha.compare.configurations import ConfigurationSpace, default_starts
from miha.records import Genome
from miha.space import SearchSpace


@pytest.mark.usefixtures("nothing_has_run")
def test_the_default_starts_are_a_good_a_poor_and_a_random_one_of_the_space(tmp_path):
    comparison = run(tmp_path, [MIHA], starts=None, space=rivals.SPACE, seeds=1)
    assert comparison.starts == ["good", "poor", "random"]
    assert comparison.about["random_starts"] == ["random"]
    narrow = SearchSpace(
        layers=["hidden"], optimizers=["lion"], activations=["tanh"], batch_size=(64, 64),
        learning_rate=(0.1, 0.2),
    )  # fmt: skip
    good = default_starts(narrow)["good"]
    assert good == Genome("lion", 0.1, 64, (("hidden", "tanh"),))
    assert ConfigurationSpace.of(narrow, [good]) == ConfigurationSpace.of(narrow, [])


def test_a_space_holds_what_the_starts_have():
    odd = Genome("adamax", 0.5, 24, (("hidden", "hard_tanh"),))
    space = ConfigurationSpace.of(SearchSpace(batch_size=(8, 64), learning_rate=(0.1, 0.2)), [odd])
    assert space.batch_sizes == (8, 16, 24, 32, 64) and space.learning_rate == (0.1, 0.5)
    assert "adamax" in space.optimizers and "hard_tanh" in space.activations
    assert space.genome(space.values(odd)) == odd
    large = ConfigurationSpace.of(SearchSpace(batch_size=(8, 16)), [odd.replace(batch_size=100)])
    assert large.batch_sizes == (8, 16, 32, 64, 100)


def test_bounds_without_a_power_of_two_are_the_batch_sizes_themselves():
    space = ConfigurationSpace.of(SearchSpace(layers=["a"], batch_size=(5, 7)), [])
    assert space.batch_sizes == (5, 7)
