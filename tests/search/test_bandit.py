from __future__ import annotations

import pytest
from entries import entry
from fakes import GENOME, RICH

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
    assert new_values(RICH, child) == ["activations relu", "batch_size smaller", "optimizer lion"]
    assert new_values(child, RICH) == ["activations tanh", "batch_size larger", "optimizer adamw"]
    assert new_values(RICH, RICH) == []


def test_the_numbers_that_an_exchanged_optimizer_brings_along_are_no_values_that_were_drawn():
    slower = GENOME.replace(learning_rate=0.001)
    assert new_values(GENOME, slower) == ["learning_rate smaller"]
    assert new_values(GENOME, slower.replace(optimizer="adam")) == ["optimizer adam"]


def raced(gene, heat, final, archive):
    """Return the two entries of a clone that has gone on after a heat."""
    return [entry(gene, heat, archive=archive), entry(gene, final, parent=archive)]


def test_in_a_race_a_clone_pays_where_it_is_fitter_than_the_control_of_its_own_round():
    done = raced("none", 0.0, 2.0, "a.zip") + [entry("batch_size", 0.1)]
    weights = [
        learned_weights(MUTATIONS, [*done, *raced("activation", 1.0, final, "b.zip")], 2)
        for final in (1.5, 2.5)
    ]
    assert weights[0][0] < weights[0][1] and weights[1][0] == weights[1][1]


def test_those_that_go_on_to_be_joined_are_measured_beside_the_control():
    done = [entry("none", 0.0), entry("activation", -1.0, archive="a.zip")]
    done += [entry("batch_size", 1.0, archive="b.zip")]
    joining = [entry("none", 5.0, parent="a.zip"), entry("none", 6.0, parent="b.zip")]
    joining += [entry("crossover", 9.0, parent="b.zip"), entry("soup", 9.0, parent=["b.zip", "a"])]
    assert learned_weights(MUTATIONS, done + joining, 2) == learned_weights(MUTATIONS, done, 2)


def test_a_restart_that_lost_says_nothing_of_its_values():
    done = [START, entry("none", 0.0), entry("restart", -9.0, genome=LARGER)]
    assert learned_welcome(done, GENOME, 2)(LARGER) == 0.5


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
