from __future__ import annotations

import pytest
from fakes import GENOME, RICH
from test_population import entry

from miha.bandit import FLOOR, learned_weights, learned_welcome, new_values
from miha.mutations import ActivationMutation, BatchSizeMutation

MUTATIONS = (ActivationMutation(weight=1.0), BatchSizeMutation())


def test_without_a_past_the_users_weights_hold():
    mutations = (ActivationMutation(weight=3.0), BatchSizeMutation())
    assert learned_weights(mutations, [], 1) == [3.0, 1.0]


def test_a_mutation_fitter_than_the_control_gains_weight():
    done = [entry("none", 0.0), entry("activation", -0.1), entry("batch_size", 0.1)]
    activation, batch_size = learned_weights(MUTATIONS, done, 2)
    assert batch_size > 1 > activation


def test_without_a_control_the_mean_of_the_cycle_decides():
    done = [entry("activation", -0.1), entry("batch_size", 0.3)]
    activation, batch_size = learned_weights(MUTATIONS, done, 2)
    assert batch_size > activation


def test_no_mutation_falls_below_its_floor():
    done = [entry("none", 0.0, c) for c in range(1, 99)]
    done += [entry("activation", -1.0, c) for c in range(1, 99)]
    done += [entry("batch_size", 1.0, c) for c in range(1, 99)]
    assert learned_weights(MUTATIONS, done, 99)[0] > FLOOR


def test_what_paid_long_ago_counts_less_than_what_paid_lately():
    old = [entry("none", 0.0, 1), entry("activation", 1.0, 1), entry("batch_size", -1.0, 1)]
    new = [entry("none", 0.0, 9), entry("activation", -1.0, 9), entry("batch_size", 1.0, 9)]
    activation, batch_size = learned_weights(MUTATIONS, old + new, 10)
    assert batch_size > activation


def test_clones_that_failed_have_not_paid():
    done = [entry("none", None), entry("activation", None), entry("batch_size", 0.1)]
    activation, batch_size = learned_weights(MUTATIONS, done, 2)
    assert batch_size > activation


@pytest.mark.parametrize("cycle", [1, 2])
def test_entries_of_the_same_cycle_and_of_later_ones_do_not_count(cycle):
    done = [entry("none", 0.0, 2), entry("activation", -1.0, 2), entry("batch_size", 1.0, 2)]
    assert learned_weights(MUTATIONS, done, cycle) == [1.0, 1.0]


def test_new_values_are_named_by_what_they_became():
    child = RICH.replace(optimizer="lion", batch_size=2).with_activation("last", "relu")
    assert new_values(RICH, child) == {"optimizer lion", "batch_size smaller", "activations relu"}
    assert new_values(child, RICH) == {"optimizer adamw", "batch_size larger", "activations tanh"}
    assert new_values(RICH, RICH) == set()


START = {**entry("initial", None, None), "phase": "initial", "archive": "model/model_init.zip"}
LARGER, SMALLER = GENOME.replace(batch_size=8), GENOME.replace(batch_size=2)


def test_a_value_that_paid_is_welcome_and_one_that_lost_is_not():
    done = [START, entry("none", 0.0), entry("batch_size", 1.0, genome=LARGER)]
    done += [entry("batch_size", -1.0, genome=SMALLER)]
    welcome = learned_welcome(done, GENOME, 2)
    assert welcome(LARGER) > welcome(GENOME.replace(optimizer="lion")) > welcome(SMALLER)
    assert welcome(GENOME.replace(batch_size=16)) == welcome(LARGER)
    assert welcome(GENOME) == 0.5


def test_values_of_the_same_cycle_do_not_count_yet():
    done = [START, entry("none", 0.0), entry("batch_size", 1.0, genome=LARGER)]
    assert learned_welcome(done, GENOME, 1)(LARGER) == 0.5
