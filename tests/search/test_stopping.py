"""Stopping: a run goes to its end before its last cycle, in order, and says why."""

from __future__ import annotations

import contextlib
import io
import math
import shutil

import pytest
from fakes import FakeTrainer, make_loop, make_plan, make_record, run
from rich.console import Console
from stories import story

from miha.errors import MihaWarning
from miha.mutations import resolve
from miha.options import Budget
from miha.records import Epoch
from miha.report.progress import Bar, Lines
from miha.results.reader import load_run
from miha.search.stopping import has_reached_target, stop_reason
from miha.storage.folder import FINAL
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

CYCLE, ALL = 7, 25
"""Epochs of a cycle and of a run of three: m=2, n=2, k=1, pop_size=3."""

WORSE = {"monitor": "loss", "mode": "max"}
"""The more trained, the worse."""


# The rules alone.

FIRST = make_record("initial", None, None, (0.9, 0.8))


def log_of(*values):
    """Return a log of an initial training and a winner of each cycle with these values."""
    winners = [
        make_record("winner", cycle, None, (value,), seconds=1.0)
        for cycle, value in enumerate(values, 1)
    ]
    return Logbook([FIRST, *winners])


def reason(log, cycle, **changes):
    return stop_reason(make_plan(**({"c": 5} | changes)), log, cycle, log.trainings[-1])


def test_without_a_budget_nothing_stops_a_run():
    assert [reason(log_of(9.0, 9.0, 9.0, 9.0), cycle) for cycle in range(1, 7)] == [None] * 6


@pytest.mark.parametrize(
    ("values", "stops"),
    [((0.9,), False), ((0.9, 0.8), True), ((0.7, 0.9), False), ((0.7, 0.9, 0.7), True)],
)
def test_patience_counts_the_cycles_since_the_first_best_value(values, stops):
    cycle = len(values) + 1
    found = reason(log_of(*values), cycle, patience=2)
    best = min(0.8, *values)
    text = f"val_loss has not become better than {best:g}: patience=2."
    assert found == (text if stops else None)


def test_patience_counts_values_of_clones_too():
    log = log_of(0.9)
    log.trainings.insert(1, make_record(values=(0.5,)))
    assert reason(log, 2, patience=1) is None
    assert reason(log_of(0.9), 2, patience=1) is not None


@pytest.mark.parametrize(("mode", "target"), [("min", 0.8), ("max", 0.8), ("min", 2), ("max", 0.5)])
def test_a_target_may_be_reached_exactly(mode, target):
    found = reason(log_of(), 1, target=target, mode=mode)
    assert found == f"val_loss 0.8 has reached target={target:g}."


@pytest.mark.parametrize(("mode", "target"), [("min", 0.79), ("max", 0.81)])
def test_a_target_that_is_not_reached_stops_nothing(mode, target):
    assert reason(log_of(), 1, target=target, mode=mode) is None


def test_a_value_that_is_not_finite_reaches_no_target():
    log = Logbook([make_record("initial", None, None, (math.inf,))])
    assert not has_reached_target(make_plan(target=1.0, mode="max"), log)
    assert not has_reached_target(make_plan(target=1.0), Logbook())


def test_after_the_last_cycle_only_the_target_can_be_reached():
    log = log_of(0.9, 0.9, 0.9)
    assert reason(log, 4, c=3, patience=1, seconds=0.1) is None
    assert "patience=1" in reason(log, 3, c=3, patience=1, seconds=0.1)
    assert "has reached target=1" in reason(log, 4, c=3, patience=1, target=1.0)


def test_the_first_reason_is_told_alone():
    log = log_of(0.9, 0.9)
    budget = {"patience": 1, "seconds": 0.1}
    assert "target=" in reason(log, 3, target=0.8, **budget)
    assert "patience=1" in reason(log, 3, **budget)
    assert "seconds=0.1 has no room" in reason(log, 3, seconds=0.1)


# Whole runs.


class Clock:
    """Time passes only when a network is trained."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def perf_counter(self) -> float:
        return self.now


class TimedTrainer(FakeTrainer):
    """A trainer whose epochs take as many seconds as it is told, training by training."""

    def __init__(self, clock, cost=lambda number: 1.0, extra=lambda number: 0.0, **arguments):
        super().__init__(**arguments)
        self.clock, self.cost, self.extra = clock, cost, extra

    def train(self, *arguments):
        self.clock.now += self.extra(len(self.trainings))
        return super().train(*arguments)

    def _epoch(self, order, training):
        cost = self.cost(len(self.trainings) - 1)
        self.clock.now += cost
        return Epoch(super()._epoch(order, training).logs, cost)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("miha.run.trainings.time", clock)
    return clock


def budgeted(path, trainer=None, **changes):
    """Return a loop of three cycles with the budgets among the changes."""
    return make_loop(path, trainer, **{"c": 3, **changes})


def cycles(loop) -> int:
    return len(loop.log.winners)


def test_patience_counts_cycles_without_a_better_value(tmp_path):
    loop = budgeted(tmp_path, patience=2, **WORSE)
    run(loop)
    assert cycles(loop) == 2
    assert load_run(tmp_path).stopped.startswith("loss has not become better than ")
    assert loop.trainer.epochs == 4 + 2 * CYCLE
    assert loop.log.trainings[-1].phase == "final"


def test_patience_begins_again_with_a_better_value_of_any_clone(tmp_path):
    trainer = FakeTrainer(script={5: {"loss": 1e6}})  # A clone of cycle 2.
    numbers = {"c": 9, "patience": 1, "fitness": lambda curve: -curve.last, **WORSE}
    loop = budgeted(tmp_path, trainer, **numbers)
    run(loop)
    assert cycles(loop) == 1
    trainer = FakeTrainer(script={2: {"loss": 1e6}})  # One of cycle 1.
    loop = budgeted(tmp_path / "other", trainer, **numbers)
    run(loop)
    assert cycles(loop) == 2
    assert not loop.log.lineage["selected"][1]


def test_a_run_that_goes_on_improving_is_not_stopped_by_patience(tmp_path):
    loop = budgeted(tmp_path, patience=1)
    run(loop)
    assert cycles(loop) == 3
    assert load_run(tmp_path).stopped is None


def test_the_target_ends_the_run_with_the_network_that_has_reached_it(tmp_path):
    trainer = FakeTrainer(script={6: {"val_loss": 0.5}})  # The second clone of cycle 2.
    loop = budgeted(tmp_path, trainer, target=0.5, fitness=lambda curve: curve.last)
    run(loop)
    result = load_run(tmp_path)
    assert loop.log.winners[2] != 1
    assert result.stopped == "val_loss 0.5 has reached target=0.5."
    assert (result.best_value, result.genome) == (0.5, result.best_genome)
    final, clone = ((tmp_path / name).read_bytes() for name in (FINAL, "population/2_1_model.zip"))
    assert trainer.load(final) == trainer.load(clone)
    assert trainer.epochs == 2 + 2 * CYCLE == len(result.history)
    assert trainer.finalized == 0


@pytest.mark.parametrize(("number", "trained"), [(0, 2), (8, 2 + 2 * CYCLE), (12, 2 + 3 * CYCLE)])
def test_the_target_is_looked_at_after_the_first_training_and_each_cycle(tmp_path, number, trained):
    trainer = FakeTrainer(script={number: {"val_accuracy": 1.5}})
    loop = budgeted(tmp_path, trainer, target=1.5, monitor="val_accuracy", mode="max")
    run(loop)
    assert trainer.epochs == trained
    assert load_run(tmp_path).stopped == "val_accuracy 1.5 has reached target=1.5."


def test_a_target_that_the_last_training_reaches_has_stopped_nothing(tmp_path):
    trainer = FakeTrainer(script={13: {"val_loss": 0.0}})
    run(budgeted(tmp_path, trainer, target=0.0))
    assert trainer.epochs == ALL
    assert load_run(tmp_path).stopped is None


def test_a_network_without_a_value_reaches_no_target(tmp_path):
    trainer = FakeTrainer(script={i: {"val_accuracy": math.inf} for i in range(99)})
    with pytest.warns(MihaWarning):
        run(budgeted(tmp_path, trainer, c=0, target=1.0, monitor="val_accuracy", mode="max"))
    assert load_run(tmp_path).stopped is None


@pytest.mark.parametrize(
    ("limit", "expected"), [(0.5, 0), (10.9, 0), (11, 1), (17.9, 1), (18, 2), (25, 3), (99, 3)]
)
def test_a_cycle_is_begun_only_where_it_and_the_last_training_fit(tmp_path, clock, limit, expected):
    loop = budgeted(tmp_path, TimedTrainer(clock), seconds=limit)
    run(loop)
    assert cycles(loop) == expected
    assert loop.trainer.epochs == 4 + CYCLE * expected
    stopped = load_run(tmp_path).stopped
    assert (stopped is None) == (expected == 3)
    assert stopped is None or stopped.startswith(f"seconds={limit:g} has no room")


def test_the_last_training_is_reserved_at_the_pace_of_the_network_as_it_is(tmp_path, clock):
    # From the winner of cycle 1 on, an epoch takes 4 s: 2 + 6 + 4 are used, 4 x (7 + 2) would be.
    trainer = TimedTrainer(clock, cost=lambda number: 4.0 if number >= 4 else 1.0)
    loop = budgeted(tmp_path, trainer, seconds=47)
    run(loop)
    assert cycles(loop) == 1
    assert "12 s are used, a cycle takes about 28 s and the last training 8 s" in loop.log.stopped
    assert clock.now == 12 + 8


def test_time_beside_the_epochs_and_of_failed_clones_counts(tmp_path, clock):
    def fails(genome):
        return MemoryError() if len(trainer.trainings) == 2 else None

    trainer = TimedTrainer(clock, extra=lambda number: 10.0 * (number == 1), fails=fails)
    loop = budgeted(tmp_path, trainer, seconds=28)
    with pytest.warns(MihaWarning, match="failed and loses"):
        run(loop)
    assert "19 s are used, a cycle takes about 17 s" in loop.log.stopped


def test_without_epochs_of_the_winner_the_pace_is_that_of_its_clone(tmp_path, clock):
    loop = budgeted(tmp_path, TimedTrainer(clock), k=0, seconds=15)
    run(loop)
    assert cycles(loop) == 1
    assert "8 s are used, a cycle takes about 6 s and the last training 2 s" in loop.log.stopped


def test_without_epochs_of_the_winner_a_child_has_the_pace_of_its_parent(tmp_path, clock):
    class Wonderful(TimedTrainer):
        def evaluate(self):
            return {"val_loss": 0.0}

    numbers = {"k": 0, "seconds": 15, "mutations": resolve(["batch_size"])}
    loop = budgeted(tmp_path, Wonderful(clock), crossover=True, **numbers)
    run(loop)
    assert loop.log.winners == {1: 3}
    assert "8 s are used, a cycle takes about 6 s and the last training 2 s" in loop.log.stopped


@pytest.mark.parametrize(
    "changes",
    [
        {"patience": 2, **WORSE},
        {"target": 9.0},
        {"seconds": 18.5},
        {"seconds": 18.5, "restore_best": True, **WORSE},
    ],
    ids=str,
)
def test_a_run_killed_at_a_line_of_its_journal_stops_where_it_would_have(tmp_path, clock, changes):
    whole = tmp_path / "whole"
    run(budgeted(whole, TimedTrainer(clock), **changes))
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    stopped = load_run(whole).stopped
    assert stopped and b'"event": "stop"' in lines[-3]
    # In each phase, and around the decision.
    for count in sorted({*range(0, len(lines), 6), *range(len(lines) - 3, len(lines))}):
        path = shutil.copytree(whole, tmp_path / f"{count}")
        (path / "journal.jsonl").write_bytes(b"".join(lines[:count]) + lines[count][:-1])
        clock.now += 1e6  # What passes between two processes does not count.
        run(budgeted(path, TimedTrainer(clock), **changes))
        assert story(path) == story(whole)
        assert load_run(path).stopped == stopped
        again = (path / "journal.jsonl").read_bytes()
        assert again.count(b'"event": "stop"') == 1
        shutil.rmtree(path)


def test_a_run_that_goes_on_decides_by_the_seconds_of_its_journal(tmp_path, clock):
    run(budgeted(tmp_path, TimedTrainer(clock, cost=lambda number: 2.0), seconds=36))
    Journal(tmp_path / "journal.jsonl").cut(6)  # To the end of cycle 1.
    loop = budgeted(tmp_path, TimedTrainer(clock, cost=lambda number: 1e-3), seconds=36)
    run(loop)
    assert cycles(loop) == 3  # 18 s of the first process, and milliseconds.
    assert load_run(tmp_path).state == "finished"


def test_a_slow_process_alone_has_less_room(tmp_path, clock):
    loop = budgeted(tmp_path, TimedTrainer(clock, cost=lambda number: 2.0), seconds=36)
    run(loop)
    assert cycles(loop) == 2


@pytest.mark.parametrize(("seconds", "expected"), [(19.9, 1), (20, 2), (27, 3), (None, 3)])
def test_more_seconds_go_on_and_those_of_the_earlier_end_count(tmp_path, clock, seconds, expected):
    # The first end takes 2 s, after 9 s to the end of cycle 1.
    run(budgeted(tmp_path, TimedTrainer(clock), seconds=17))
    stays = contextlib.nullcontext()
    if expected == 1:
        stays = pytest.warns(MihaWarning, match="stays as it is.*seconds=19.9 has no room")
    with stays:
        loop = budgeted(tmp_path, TimedTrainer(clock), seconds=seconds)
    if loop.recorder.past.is_finished:
        assert expected == 1
        return
    run(loop)
    assert cycles(loop) == expected
    assert loop.trainer.epochs == CYCLE * (expected - 1) + 2
    if seconds != 27:
        return
    # An interruption after that changes nothing, also where the sum is over the limit.
    whole = story(tmp_path)
    entries = Journal(tmp_path / "journal.jsonl").read()
    Journal(tmp_path / "journal.jsonl").cut(len(entries) - 6)
    run(budgeted(tmp_path, TimedTrainer(clock), seconds=seconds))
    assert story(tmp_path) == whole


def test_smaller_budgets_make_another_run(tmp_path):
    run(budgeted(tmp_path, patience=3))
    with pytest.raises(FileExistsError, match=r"arguments\.budget\.patience is 3 and not 2"):
        budgeted(tmp_path, patience=2)


# What is shown of it.


@pytest.mark.parametrize("make", [Lines, Bar])
def test_the_progress_says_that_it_counts_to_an_upper_bound_and_why_it_stopped(tmp_path, make):
    screen = Console(file=io.StringIO(), force_terminal=make is Bar, width=120, highlight=False)
    shown = make(screen, "val_loss", Budget(target=9.0))
    loop = budgeted(tmp_path, callbacks=[shown], target=9.0)
    shown.on_run_begin(loop.schedule, "logs/x")
    run(loop)
    result = load_run(tmp_path)
    shown.on_run_end(result)
    text = screen.file.getvalue()
    assert "at most 25 epochs" in text
    assert f"Stopped: {result.stopped}" in text.replace("\n", " ")
    assert shown._done == loop.trainer.epochs < ALL
    if make is Bar:
        assert shown._bar.tasks[0].total == shown._bar.tasks[0].completed == shown._done
    else:
        assert f"[{shown._done}/<=25] final training" in text


def test_a_finished_run_that_had_stopped_counts_its_own_epochs(tmp_path):
    loop = budgeted(tmp_path, target=9.0)
    run(loop)
    shown = Lines(Console(file=io.StringIO()), "val_loss", Budget(target=9.0))
    shown.on_run_begin(loop.schedule, "logs/x")
    shown.on_resume(budgeted(tmp_path, target=9.0).recorder.past.trainings)
    assert shown._done == loop.trainer.epochs
    assert "The run was finished before" in shown._console.file.getvalue()
    shown.on_resume([make_record("initial", None, None)])
    assert "Goes on after 1 of at most 14 trainings" in shown._console.file.getvalue()
