"""Rests: where mutations are not worth their epochs, these go to the network itself."""

from __future__ import annotations

import math

import pytest
from fakes import FakeTrainer, make_loop, make_plan, make_record, run

from miha.records import Change, Schedule
from miha.search.rests import (
    is_worthwhile,
    resting_cycles,
    rests_around,
    worthwhile_cycles,
)
from miha.storage.logbook import Logbook


def rests(outcomes: str) -> str:
    """Return what each cycle is, "r" for a rest, given what each population would come to.

    "w": its population was worthwhile; "c": the control has won.
    """
    was_worthwhile, found = {}, ""
    for cycle, outcome in enumerate(outcomes, 1):
        rest = bool(rests_around(cycle, was_worthwhile))
        found += "r" if rest else outcome
        if not rest:
            was_worthwhile[cycle] = outcome == "w"
    return found


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("wwwwww", "wwwwww"),
        ("cwcwcw", "crcrrr"),
        ("cccccccccccccccc", "crcrrrcrrrrrrrcr"),
        ("ccwwwcc", "crwwwcr"),
        ("wccccw", "wcrcrr"),
    ],
)
def test_a_rest_follows_a_population_that_was_not_worthwhile(outcomes, expected):
    assert rests(outcomes) == expected


SCHEDULE = Schedule(m=4, n=2, k=1, c=2, pop_size=3)
CHANGES = {
    "none": Change("none", "unchanged"),
    "batch_size": Change("batch_size", "batch size 4 -> 8"),
    "restart": Change("restart", "fresh weights", "restart"),
    "crossover": Change("crossover", "the mean"),
}


def clone(number, gene, value, start=1.0, **changes):
    record = make_record(clone=number, values=(value, value), change=CHANGES[gene])
    return record.replace(**({"start": start} | changes))


def is_worth(clones, number, mode="min"):
    """Return whether a population was worth its epochs."""
    log = Logbook(clones, {1: number})
    assert worthwhile_cycles(log, SCHEDULE, mode).keys() == {1}
    return worthwhile_cycles(log, SCHEDULE, mode)[1]


def mirrored(clones):
    return [clone.replace(value=-clone.value, start=-clone.start) for clone in clones]


@pytest.mark.parametrize(
    ("value", "won", "expected"),
    [
        (0.78, 1, True),  # Ahead by 0.06 an epoch; at half of it, over 8 epochs, by more than
        (0.84, 1, False),  # the 0.2 that the control's pace would bring in the others' 4.
        (0.55, 0, False),
        (0.55, None, False),
        (0.95, 2, True),  # It began with fresh weights.
    ],
)
def test_a_population_is_worthwhile_where_its_winner_is_worth_its_epochs(value, won, expected):
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", value), clone(2, "restart", 0.95)]
    assert is_worth(clones, won) is expected
    assert is_worth(mirrored(clones), won, "max") is expected


def test_what_a_winner_is_worth_depends_on_the_epochs_left():
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.8)]
    # Ahead by 0.05 an epoch, against 0.1 that the mutant's epochs would have brought.
    assert is_worthwhile(clones, 1, 5, "min")
    assert not is_worthwhile(clones, 1, 3, "min")


def test_a_small_gain_is_worthwhile_where_the_network_has_come_to_a_halt():
    clones = [clone(0, "none", 1.0), clone(1, "batch_size", 0.99)]
    assert is_worth(clones, 1)
    assert is_worth([record.replace(start=None) for record in clones], 1)


def test_a_child_has_gained_what_it_is_ahead_in_the_epochs_of_a_trial():
    child = clone(3, "crossover", 0.78, epochs=())
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.84), clone(2, "batch_size", 0.85)]
    assert is_worth([*clones, child], 3)
    assert not is_worth([*clones, child.replace(value=0.84)], 3)


@pytest.mark.parametrize("clones", [[], [clone(0, "none", math.nan)]])
def test_a_winner_without_a_control_to_compare_with_was_worthwhile(clones):
    assert is_worth([*clones, clone(1, "batch_size", 5.0)], 1)


def test_only_cycles_with_a_population_are_judged():
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.5)]
    log = Logbook([*clones, make_record("winner", 2, None)], {1: 1})
    assert worthwhile_cycles(log, SCHEDULE, "min") == {1: True}


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
    trainings_of_cycle = loop.schedule.pop_size + 1
    fitness |= {2 + i * trainings_of_cycle: 1.0 for i in range(4)}
    run(loop)
    return loop


def test_a_run_that_rests_trains_as_many_epochs_as_announced(tmp_path):
    loop = good_start(tmp_path, rest=True)
    assert loop.log.winners == {1: 0, 3: 0}
    [winner] = [r for r in loop.log.trainings if r.phase == "winner" and r.cycle == 2]
    assert len(winner.epochs) == loop.schedule.k + loop.schedule.pop_size * loop.schedule.n
    assert loop.trainer.epochs == loop.schedule.epochs


def test_a_run_that_shall_not_rest_does_not(tmp_path):
    assert list(good_start(tmp_path, rest=False).log.winners) == [1, 2, 3, 4]


def test_the_rests_to_come_are_known_after_two_failures_running():
    clones = [clone(0, "none", 0.9), clone(1, "batch_size", 0.9)]
    log = Logbook([c.replace(cycle=cycle) for cycle in (1, 3) for c in clones], {1: 0, 3: 0})
    plan = make_plan(c=6, rest=True)
    assert resting_cycles(log, plan, 2) == range(2, 3)
    assert not resting_cycles(log, plan, 3)
    for cycle in (4, 5, 6):
        assert resting_cycles(log, plan, cycle) == range(4, 7)
    assert not resting_cycles(log, make_plan(c=6, rest=False), 4)


def test_rests_cost_no_time_where_a_run_has_a_million_cycles():
    plan = make_plan(c=10**6, rest=True, anneal=True)
    assert resting_cycles(Logbook([], {}), plan, 1) == range(0)
