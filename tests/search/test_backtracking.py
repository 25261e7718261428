from __future__ import annotations

import math

import pytest
from fakes import FakeTrainer, make_loop, make_network, run
from miha.search.backtracking import backtracked, better

BEST, SAME, WORSE = (make_network(values=(value,)) for value in (1.0, 1.04, 1.06))


@pytest.mark.parametrize(
    ("network", "share", "expected"),
    [(SAME, 0.05, SAME), (WORSE, 0.05, BEST), (WORSE, 0.1, WORSE), (WORSE, None, WORSE)],
)
def test_a_network_that_is_clearly_worse_is_given_up_for_the_best(network, share, expected):
    assert backtracked(network, BEST, share, "min") is expected


def test_where_large_is_better_a_small_value_is_worse():
    low, high = make_network(values=(0.5,)), make_network(values=(0.9,))
    assert backtracked(low, high, 0.05, "max") is high
    assert backtracked(high, low, 0.05, "max") is high
    assert better(low, high, "max") is high


def test_a_network_without_a_value_is_worse_than_any_that_has_one():
    lost = make_network(values=(math.nan,))
    assert backtracked(lost, BEST, 0.05, "min") is BEST
    assert better(lost, BEST, "min") is better(BEST, lost, "min") is BEST
    assert backtracked(lost, lost, 0.05, "min") is lost


def test_of_equals_the_later_is_the_better():
    first, second = make_network(values=(1.0,)), make_network(values=(1.0,))
    assert better(first, second, "min") is second


def spoilt(share, path):
    """Return a run whose network gets worse in the winner's training of cycle 1."""
    trainer = FakeTrainer(script={4: {"val_loss": 100.0}})
    loop = make_loop(path, trainer, backtrack=share, control=True)
    run(loop)
    return loop


def test_a_run_goes_on_from_its_best_network(tmp_path):
    loop = spoilt(0.05, tmp_path)
    clones = [e for e in loop.log.trainings if e["phase"] == "clone" and e["cycle"] == 2]
    before = [e for e in loop.log.trainings if e["cycle"] in (None, 1) and e["phase"] != "final"]
    winner = before[1 + loop.log.winners[1]]
    assert {e["parent"] for e in clones} == {winner["archive"]}
    assert clones[0]["genome"] == winner["genome"]
    assert clones[0]["first_epoch"] == winner["first_epoch"] + 2


def test_a_run_without_backtracking_goes_on_from_its_last_network(tmp_path):
    loop = spoilt(None, tmp_path)
    clones = [e for e in loop.log.trainings if e["phase"] == "clone" and e["cycle"] == 2]
    assert {e["parent"] for e in clones} == {"model/model_1.zip"}


@pytest.mark.parametrize("anneal", [False, True])
def test_the_learning_rate_is_annealed_in_the_last_training_only(tmp_path, anneal):
    loop = make_loop(tmp_path, m=4, anneal=anneal)
    run(loop)
    *others, last = [training.rates for training in loop.trainer.trainings]
    assert not any(others)
    expected = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert last == (pytest.approx(expected) if anneal else None)


def test_a_restart_clone_begins_with_fresh_weights_and_a_fresh_optimizer(tmp_path):
    loop = make_loop(tmp_path, restarts=1)
    run(loop)
    parent, control, mutant, restart = loop.trainer.trainings[:4]
    assert control.start == mutant.start == parent.end != restart.start
    entry = loop.log.trainings[3]
    assert entry["change"]["transition"] == "restart"
    assert loop.log.trainings[6]["change"]["transition"] != "restart"
