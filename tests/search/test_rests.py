from __future__ import annotations

import math

import pytest
from fakes import FakeTrainer, make_loop, run

from miha.records import Schedule
from miha.search.rests import is_rest, payments
from miha.storage.logbook import Logbook


def rests(outcomes: str) -> str:
    """Return what each cycle is, "r" for a rest, given what each population would come to."""
    paid, told = {}, ""
    for cycle, outcome in enumerate(outcomes, 1):
        rest = is_rest(cycle, paid)
        told += "r" if rest else outcome
        if not rest:
            paid[cycle] = outcome == "p"
    return told


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ("pppppp", "pppppp"),
        ("cpcpcp", "crcrrr"),
        ("cccccccccccccccc", "crcrrrcrrrrrrrcr"),
        ("ccpppcc", "crpppcr"),
        ("pccccp", "pcrcrr"),
    ],
)
def test_a_rest_follows_a_population_that_has_not_paid(outcomes, told):
    assert rests(outcomes) == told


SCHEDULE = Schedule(m=4, n=2, k=1, c=2, pop_size=3)


def clone(number, gene, value, start=1.0, parent="model/model_init.zip"):
    return {
        "phase": "clone",
        "cycle": 1,
        "clone": number,
        "archive": f"population/1_{number}_model.zip",
        "parent": parent,
        "change": {"gene": gene},
        "start": start,
        "value": value,
        "epochs": [{}, {}],
    }


@pytest.mark.parametrize(
    ("value", "won", "paid"),
    [
        (0.78, 1, True),  # ahead by 0.06 an epoch; at half of it, over 8 epochs, by more than
        (0.84, 1, False),  # the 0.2 that the control's pace would bring in the others' 4
        (0.55, 0, False),
        (0.55, None, False),
        (0.95, 2, True),  # it began anew
    ],
)
def test_a_population_pays_where_its_winner_is_worth_its_epochs(value, won, paid):
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", value), clone(2, "restart", 0.95)]
    clones[0]["value"] = 0.9
    assert payments(Logbook(clones, {1: won}), SCHEDULE, "min") == {1: paid}
    for entry in clones:
        entry |= {"value": -entry["value"], "start": -entry["start"]}
    assert payments(Logbook(clones, {1: won}), SCHEDULE, "max") == {1: paid}


def test_a_population_must_be_worth_the_epochs_of_its_late_clones_too():
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.7)]
    clones[0]["value"] = 0.9
    paid = [payments(Logbook(clones, {1: 1}, late=late), SCHEDULE, "min")[1] for late in
            ({}, {1: tuple(range(2, 30))})]  # fmt: skip
    assert paid == [True, False]
    late = {**clone(2, "restart", 0.1), "late": True}
    assert payments(Logbook([*clones, late], {1: 1}), SCHEDULE, "min") == {1: True}


@pytest.mark.parametrize(("base", "paid"), [(0, False), (1, True), (2, True)])
def test_a_clone_that_goes_on_has_paid_as_what_it_began_as(base, paid):
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.6), clone(2, "restart", 0.95)]
    last = clone(3, "none", 0.5, parent=clones[base]["archive"])
    assert payments(Logbook([*clones, last], {1: 3}), SCHEDULE, "min") == {1: paid}


def test_a_small_gain_pays_where_the_network_has_come_to_a_halt():
    clones = [clone(0, "none", 1.0), clone(1, "batch_size", 0.99)]
    assert payments(Logbook(clones, {1: 1}), SCHEDULE, "min") == {1: True}
    assert payments(Logbook([{**c, "start": None} for c in clones], {1: 1}), SCHEDULE, "min") == {
        1: True
    }


@pytest.mark.parametrize("clones", [[], [clone(0, "none", math.nan)]])
def test_a_winner_without_a_control_to_compare_with_has_paid(clones):
    assert payments(Logbook([*clones, clone(1, "batch_size", 5.0)], {1: 1}), SCHEDULE, "min") == {
        1: True
    }


def good_start(path, **changes):
    """Return a run whose mutants never win."""
    fitness = {0: 1.0}
    trainer = FakeTrainer()
    loop = make_loop(
        path,
        trainer,
        c=4,
        fitness=lambda curve: fitness.get(len(trainer.trainings), 0.0),
        **changes,
    )
    # Trainings 2, 6 and so on are the controls.
    per_cycle = loop.schedule.pop_size + 1
    fitness |= {2 + i * per_cycle: 1.0 for i in range(4)}
    run(loop)
    return loop


def test_a_run_that_rests_trains_as_many_epochs_as_announced(tmp_path):
    loop = good_start(tmp_path, rest=True)
    assert loop.log.winners == {1: 0, 3: 0}
    winner = [e for e in loop.log.trainings if e["phase"] == "winner" and e["cycle"] == 2]
    assert len(winner[0]["epochs"]) == loop.schedule.k + loop.schedule.pop_size * loop.schedule.n
    assert loop.trainer.epochs == loop.schedule.epochs


def test_a_run_that_shall_not_rest_does_not(tmp_path):
    assert list(good_start(tmp_path, rest=False).log.winners) == [1, 2, 3, 4]
