"""Restarts: fresh weights, and a genome that learns fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import GENOME, SPACE, make_loop, make_record, run

from miha.options import Search
from miha.search.restarts import ADAPTIVE, draw_restart, has_restart, is_promising

TEXTBOOK = replace(SPACE, optimizers=SPACE.optimizers | {"adam": 0.3}, batch_size=(8, 128))


def restart(seed=0, parent=GENOME, space=SPACE, cycle=2):
    return draw_restart(parent, space, cycle, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("cycle", "restarts", "mutants", "expected"),
    [(1, 2, 3, True), (2, 2, 3, True), (3, 2, 3, False), (1, 0, 3, False), (1, 4, 1, False)],
)
def test_the_first_cycles_have_a_restart_unless_no_mutant_would_be_left(
    cycle, restarts, mutants, expected
):
    assert has_restart(cycle, Search(restarts=restarts), mutants) is expected


def test_a_restart_has_an_adaptive_optimizer_at_its_default_rate_and_one_rectifier():
    for seed in range(20):
        genome, change = restart(seed)
        assert (genome.optimizer in ADAPTIVE, genome.learning_rate) == (True, 0.001)
        name = dict(genome.activations)["hidden"]
        assert name in ("relu", "gelu")
        for slot, activation in genome.activations:
            assert activation == name or name not in SPACE.slots[slot]
        assert (change.gene, change.transition) == ("restart", "restart")
        assert change.is_restart and not change.is_control
        assert str(genome) in change.text


def test_the_first_restart_begins_as_a_textbook_does():
    found = {restart(seed, space=TEXTBOOK, cycle=1)[0] for seed in range(20)}
    (genome,) = found
    assert (genome.optimizer, genome.learning_rate, genome.batch_size) == ("adam", 0.001, 32)
    assert dict(genome.activations)["hidden"] == "relu"
    assert len({restart(seed, space=TEXTBOOK)[0] for seed in range(20)}) > 5


def test_a_network_that_begins_as_a_textbook_does_is_not_begun_so_again():
    parent = restart(space=TEXTBOOK, cycle=1)[0]
    found = {restart(seed, parent, TEXTBOOK, cycle=1)[0] for seed in range(20)}
    assert len(found) > 5


def test_a_restart_keeps_to_the_space():
    space = replace(TEXTBOOK, learning_rate=(0.01, 0.1), batch_size=(48, 80))
    found = [restart(seed, space=space, cycle=cycle)[0] for seed in range(9) for cycle in (1, 2)]
    assert {(genome.learning_rate, genome.batch_size) for genome in found} == {(0.01, 64)}


def test_a_restart_keeps_to_the_multiples_of_batch_sizes():
    space = replace(TEXTBOOK, batch_size=(12, 120), batch_multiple=12)
    parent = GENOME.replace(batch_size=12)
    found = {restart(seed, parent, space)[0].batch_size for seed in range(9)}
    assert found == {12}  # None of the usual sizes is a multiple of 12.


def test_a_restart_under_a_schedule_has_no_rate():
    space = replace(SPACE, optimizers=dict.fromkeys(SPACE.optimizers))
    assert restart(parent=GENOME.replace(learning_rate=None), space=space)[0].learning_rate is None


def test_a_restart_without_rectifiers_takes_any_activation():
    space = replace(SPACE, slots={"hidden": ("tanh", "softsign"), "last": ("tanh",)})
    parent = GENOME.with_activation("hidden", "tanh").with_activation("last", "tanh")
    drawn = (restart(seed, parent, space)[0] for seed in range(20))
    assert {dict(genome.activations)["hidden"] for genome in drawn} == {"tanh", "softsign"}


def test_a_restart_of_a_network_without_activations_has_none():
    space = replace(SPACE, slots={})
    assert restart(parent=GENOME.replace(activations=()), space=space)[0].activations == ()


def test_a_restart_without_adaptive_optimizers_takes_any():
    space = replace(SPACE, optimizers={"sgd": 0.005, "lion": 0.0005})
    assert {restart(seed, space=space)[0].optimizer for seed in range(20)} == {"sgd", "lion"}


def test_the_same_generator_draws_the_same_restart():
    assert [restart(seed) for seed in range(9)] == [restart(seed) for seed in range(9)]


def test_a_restart_in_a_run_begins_with_fresh_weights_and_a_fresh_optimizer(tmp_path):
    loop = make_loop(tmp_path, restarts=1)
    run(loop)
    parent, control, mutant, fresh = loop.trainer.trainings[:4]
    assert control.start == mutant.start == parent.end != fresh.start
    assert loop.log.trainings[3].change.transition == "restart"
    assert not any(clone.change.is_restart for clone in loop.log.clones(2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 0.9, 0.8, 0.2), True),  # At three epochs, it was not as good.
        ((1.0, 0.9, 0.5, 0.2), False),
        ((0.4, 0.9, 0.9, 0.9), False),
        ((1.0,), True),
        ((), False),
    ],
)
def test_a_restart_is_promising_where_it_is_ahead_of_the_network_at_its_age(values, expected):
    fresh = make_record(values=(0.9, 0.5))
    assert is_promising(fresh, values, "min") is expected
    # The training losses of these are twice the values.
    losses = [2 * value for value in values]
    assert is_promising(fresh, values, "min", losses) is expected
    assert not is_promising(fresh, values, "min", [0.9] * 4)
    mirrored = fresh.replace(value=-0.5)
    assert is_promising(mirrored, [-value for value in values], "max") is expected
    assert not is_promising(fresh.replace(value=float("nan")), values, "min")
