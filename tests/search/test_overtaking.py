from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import FakeTrainer, make_loop, make_network, run
from miha.search.judging import Apart, judged
from miha.search.overtaking import is_in_vain, overtakes

from miha.records import Change, Schedule
from miha.search.ancestry import life, stages
from miha.search.fitness import LevelAndSlope, fittest
from miha.search.plan import Plan

LIFE = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25]


@pytest.mark.parametrize(
    ("value", "left", "expected"),
    [
        (0.2, 1, True),  # better than the network ever was, at a fifth of its age
        (0.4, 20, True),  # 3.5 times as fast: 7 + 20 * 3.5 / 2 > 10 + 20
        (0.4, 4, False),  # the same, but too late
        (0.8, 20, False),  # 1.5 times as fast, which is less than twice
        (1.1, 20, False),
    ],
)
def test_a_restart_overtakes_where_it_learns_much_faster_and_time_is_left(value, left, expected):
    assert overtakes(LIFE, value, 2, left, "min") is expected
    assert overtakes([-v for v in LIFE], -value, 2, left, "max") is expected


def test_a_restart_that_is_better_than_the_network_ever_was_needs_no_pace():
    assert overtakes([1.0, 0.9, 0.8], 0.7, 2, 20, "min")
    assert not overtakes([1.0, 0.9, 0.8], 0.8, 2, 20, "min")


def test_values_that_diverged_are_never_as_good():
    assert overtakes([math.nan] * 10, 0.5, 2, 20, "min")


CLONES = {1: 4.2, 2: 4.25}


SLOW = [5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3]


def _run(path, values, c=5, n=1, first=SLOW, **changes):
    """Run a network with the values of its first epochs and of some trainings by their number."""
    beginning = iter(first)

    class Scripted(FakeTrainer):
        def _logs(self):
            logs = super()._logs()
            return logs | ({"val_loss": next(beginning)} if len(self.trainings) == 1 else {})

    trainer = Scripted(script={number: {"val_loss": value} for number, value in values.items()})
    loop = make_loop(path, trainer, m=8, n=n, c=c, restarts=1, **changes)
    run(loop)
    return loop.log


def test_a_restart_behind_is_selected_where_it_is_expected_to_overtake(tmp_path):
    assert _run(tmp_path / "near", CLONES | {3: 4.35}).winners[1] == 2
    assert _run(tmp_path / "far", CLONES | {3: 4.95}).winners[1] == 0


@pytest.mark.parametrize(("epoch_1", "winner"), [(5.0, 0), (2.5, 2)])
def test_a_restart_wins_by_its_fitness_only_against_a_network_in_vain(tmp_path, epoch_1, winner):
    """The network has overfitted: it was at 2.0, and is at 3.1."""
    first = [epoch_1, 2.0, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0]
    log = _run(tmp_path, {1: 3.1, 2: 3.2, 3: 2.6}, first=first)
    fitness = [e["fitness"] for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"]
    assert max(fitness) == fitness[2] and log.winners[1] == winner


def test_two_that_join_are_no_restart_unless_that_wins(tmp_path):
    values, first = {1: 3.1, 2: 3.0, 3: 2.6}, [5.0, 2.0, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0]
    log = _run(tmp_path, values, first=first, crossover=True, c=1)
    joined = [e for e in log.trainings if e["phase"] == "clone" and e["clone"] > 2]
    assert joined and not any("1_2_model" in str(e["parent"]) for e in joined)


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        ([1.0, 0.5, 0.9], False),
        ([1.0, 0.5, 1.1], True),
        ([1.0, math.nan], True),
        ([math.nan, 1.0, 0.9], False),
        ([math.nan], True),
        ([], True),
    ],
)
def test_a_network_has_trained_in_vain_where_it_is_worse_than_after_an_epoch(life, expected):
    assert is_in_vain(life, "min") is expected
    assert is_in_vain([-value for value in life], "max") is expected


def test_a_restart_that_wins_does_not_have_to_defend_itself_in_a_crossing(tmp_path):
    log = _run(tmp_path, CLONES | {3: 4.35}, crossover=True, c=1)
    assert log.winners[1] == 2
    assert [e["clone"] for e in log.trainings if e["phase"] == "clone"] == [0, 1, 2]


def test_a_restart_wins_against_a_control_that_failed(tmp_path):
    """It is behind the network's past, and alone with a mutant that is worse."""
    log = _run(tmp_path, {1: math.nan, 2: 4.9, 3: 4.8})
    assert log.winners[1] == 2


def test_the_life_of_a_network_begins_with_its_restart(tmp_path):
    log = _run(tmp_path, CLONES | {3: 4.35})
    assert [epoch["val_loss"] for epoch in life(log.trainings, log.winners, 1)] == pytest.approx(
        [5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3]
    )
    assert life(log.trainings, log.winners, 2)[0]["val_loss"] == 4.35
    assert len(life(log.trainings, log.winners, 2)) == 2


def test_a_restart_that_races_is_the_beginning_of_a_life_too(tmp_path):
    log = _run(tmp_path, {5: 1.0, 6: 0.9}, n=2, racing=True, pop_size=4)
    clones = {e["clone"]: e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"}
    way = stages(clones.values(), log.winners[1])
    assert [stage["change"]["gene"] for stage in way] == ["restart"] * 2
    line = [e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "winner"]
    assert life(log.trainings, log.winners, 2) == [
        epoch for e in (*way, *line) for epoch in e["epochs"]
    ]


def test_a_restart_that_races_is_as_old_as_both_its_stages(tmp_path):
    """After two epochs it is as good as the network after four: after one, that were fast."""
    log = _run(tmp_path, {5: 1.0, 6: 4.72}, n=2, racing=True, pop_size=4)
    clones = {e["clone"]: e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"}
    assert [e["value"] for e in clones.values() if e["change"]["gene"] == "restart"] == [1.0, 4.72]
    assert clones[log.winners[1]]["change"]["gene"] != "restart"


def test_a_control_that_never_trained_bars_no_restart():
    """The network's life ends with its parent's value, which does not tell that it goes on well."""
    control = replace(make_network(clone=0), epochs=(), value=math.nan)
    mutant = make_network(clone=1, change=Change("gene", "", "inherit"), fitness=-0.6)
    restart = make_network(clone=2, change=Change("restart", "", "restart"), fitness=-0.5)
    restart, apart = replace(restart, value=0.5), Apart()
    ranked = fittest(apart.watch([control, mutant, restart]), 2)
    plan = Plan(Schedule(1, 1, 1, 2, 3), (), LevelAndSlope(), "val_loss", "min", True, 0)
    assert judged(ranked, apart, [1.0, 0.3, 0.4], 3, plan, 1)[0] is restart
    apart.control = make_network(clone=0)
    assert judged(ranked, apart, [1.0, 0.3, 0.4], 3, plan, 1)[0] is mutant


def test_a_restart_that_is_behind_races_on_where_it_is_expected_to_overtake(tmp_path):
    """In the heat it is the least fit, and at its pace ahead."""
    heat = {1: 4.2, 2: 4.25, 3: 4.25, 4: 4.25, 5: 4.6}
    log = _run(tmp_path / "near", heat | {6: 4.15, 7: 4.45}, n=2, racing=True, pop_size=4)
    clones = [e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"]
    assert [e["change"]["gene"] for e in clones[-2:]] == ["none", "restart"]
    assert clones[-1]["clone"] == log.winners[1]
    log = _run(tmp_path / "far", heat | {5: 4.95}, n=2, racing=True, pop_size=4)
    clones = [e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"]
    assert [e["change"]["gene"] for e in clones].count("restart") == 1


def test_without_a_control_a_restart_races_on_by_its_fitness_alone(tmp_path):
    heat = {1: 4.2, 2: 4.25, 3: 4.25, 4: 4.25, 5: 4.6}
    log = _run(tmp_path, heat, n=2, racing=True, pop_size=4, control=False)
    clones = [e for e in log.trainings if e["cycle"] == 1 and e["phase"] == "clone"]
    assert [e["change"]["gene"] for e in clones].count("restart") == 1
