"""Budgets: a run ends before its last cycle, in order, and says why."""

from __future__ import annotations

import io
import math
import shutil

import pytest
from fakes import FakeTrainer, make_loop, make_network, run
from rich.console import Console

from miha.errors import ArgumentError, MihaWarning
from miha.records import Epoch, LongestSchedule, Schedule
from miha.report.progress import Bar, Lines, announcement
from miha.results.reader import load_run
from miha.search.budgets import Budgets, check_budgets, choose_schedule
from miha.storage.folder import FINAL
from miha.storage.journal import Journal

SCHEDULE = Schedule(m=2, n=2, k=1, c=3, pop_size=3)
CYCLE, ALL = 7, 25
WORSE = {"monitor": "loss", "mode": "max"}  # The more trained, the worse.


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
    for module in ("miha.run.loop", "miha.competing"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


def budgeted(path, trainer=None, **changes):
    """Return a loop of `SCHEDULE` with the budgets among the changes."""
    names = ("max_seconds", "max_epochs", "patience", "target")
    budgets = Budgets(**{name: changes.pop(name) for name in names if name in changes})
    return make_loop(path, trainer, budgets=budgets, **{"c": 3, **changes})


def cycles(loop) -> int:
    return len(loop.log.winners)


@pytest.mark.parametrize("most", range(4, ALL + 2))
def test_the_epochs_never_exceed_the_most_and_are_those_announced(tmp_path, most):
    loop = budgeted(tmp_path, max_epochs=most)
    run(loop)
    whole_cycles = min((most - 4) // CYCLE, 3)
    assert loop.trainer.epochs == loop.plan.longest.epochs == 4 + CYCLE * whole_cycles <= most
    assert len(loop.trainer.trainings) == loop.plan.longest.trainings
    assert loop.log.trainings[-1]["phase"] == "final"
    assert len(loop.log.trainings[-1]["epochs"]) == 2
    stopped = load_run(tmp_path).stopped
    assert (stopped is None) == (most >= ALL)
    assert stopped is None or stopped.startswith(f"max_epochs={most} has no room")


@pytest.mark.parametrize(
    "method", [{"crossover": True}, {"racing": True}, {"crossover": True, "racing": True}]
)
@pytest.mark.parametrize("most", [30, 47, 64, 99])
def test_offspring_and_races_do_not_exceed_the_most_epochs(tmp_path, method, most):
    loop = budgeted(tmp_path, max_epochs=most, pop_size=4, c=4, rest=True, seed=most, **method)
    run(loop)
    assert loop.trainer.epochs <= most
    assert cycles(loop) + len(loop.log.trainings) > 2
    assert loop.log.stopped is None or loop.trainer.epochs > most - loop.plan.epochs_of_cycle - 8


def test_patience_counts_cycles_without_a_better_value(tmp_path):
    loop = budgeted(tmp_path, patience=2, **WORSE)
    run(loop)
    assert cycles(loop) == 2
    assert load_run(tmp_path).stopped.startswith("loss has not become better than ")
    assert loop.trainer.epochs == 4 + 2 * CYCLE


def test_patience_begins_anew_with_a_better_value_of_any_clone(tmp_path):
    trainer = FakeTrainer(script={5: {"loss": 1e6}})  # A clone of cycle 2.
    loop = budgeted(tmp_path, trainer, c=9, patience=1, fitness=lambda c: -c.last, **WORSE)
    run(loop)
    assert cycles(loop) == 1
    trainer = FakeTrainer(script={2: {"loss": 1e6}})  # One of cycle 1.
    loop = budgeted(
        tmp_path / "other", trainer, c=9, patience=1, fitness=lambda c: -c.last, **WORSE
    )
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
    loop = budgeted(tmp_path, TimedTrainer(clock), max_seconds=limit)
    run(loop)
    assert cycles(loop) == expected
    assert loop.trainer.epochs == 4 + CYCLE * expected
    stopped = load_run(tmp_path).stopped
    assert (stopped is None) == (expected == 3)
    assert stopped is None or stopped.startswith(f"max_seconds={limit:g} has no room")


def test_the_last_training_is_reserved_at_the_pace_of_the_network_as_it_is(tmp_path, clock):
    # From the winner of cycle 1 on, an epoch takes 4 s: 2 + 6 + 4 are used, 4 x (7 + 2) would be.
    trainer = TimedTrainer(clock, cost=lambda number: 4.0 if number >= 4 else 1.0)
    loop = budgeted(tmp_path, trainer, max_seconds=47)
    run(loop)
    assert cycles(loop) == 1
    assert "12 s are used, a cycle takes about 28 s and the last training 8 s" in loop.log.stopped
    assert clock.now == 12 + 8


def test_time_beside_the_epochs_and_of_failed_clones_counts(tmp_path, clock):
    def fails(genome):
        return MemoryError() if len(trainer.trainings) == 2 else None

    trainer = TimedTrainer(clock, extra=lambda number: 10.0 * (number == 1), fails=fails)
    loop = budgeted(tmp_path, trainer, max_seconds=28)
    with pytest.warns(MihaWarning, match="failed and loses"):
        run(loop)
    assert "19 s are used, a cycle takes about 17 s" in loop.log.stopped


def test_without_epochs_of_the_winner_the_pace_is_that_of_its_clone(tmp_path, clock):
    loop = budgeted(tmp_path, TimedTrainer(clock), k=0, max_seconds=15)
    run(loop)
    assert cycles(loop) == 1
    assert "8 s are used, a cycle takes about 6 s and the last training 2 s" in loop.log.stopped


def story(path):
    result = load_run(path)
    history = result.history.drop(columns="seconds").to_dict("split")
    rest = (result.lineage.to_dict("split"), result.state, result.stopped, result.archives)
    return repr((history, *rest)), FakeTrainer().load((path / FINAL).read_bytes())


@pytest.mark.parametrize(
    "changes",
    [
        {"max_epochs": 20},
        {"patience": 2, **WORSE},
        {"target": 9.0},
        {"max_seconds": 18.5},
        {"max_seconds": 18.5, "restore_best": True, **WORSE},
    ],
    ids=str,
)
def test_a_run_killed_at_each_line_of_its_journal_stops_where_it_would_have(
    tmp_path, clock, changes
):
    whole = tmp_path / "whole"
    run(budgeted(whole, TimedTrainer(clock), **changes))
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert load_run(whole).stopped and b'"event": "stop"' in lines[-3]
    for count in range(len(lines)):
        path = shutil.copytree(whole, tmp_path / f"{count}")
        (path / "journal.jsonl").write_bytes(b"".join(lines[:count]) + lines[count][:-1])
        clock.now += 1e6  # What passes between two processes does not count.
        run(budgeted(path, TimedTrainer(clock), **changes))
        assert story(path) == story(whole)
        again = (path / "journal.jsonl").read_bytes()
        assert again.count(b'"event": "stop"') == 1
        shutil.rmtree(path)


def test_a_run_that_goes_on_decides_by_the_seconds_of_its_journal(tmp_path, clock):
    run(budgeted(tmp_path, TimedTrainer(clock, cost=lambda number: 2.0), max_seconds=36))
    Journal(tmp_path / "journal.jsonl").cut(6)  # To the end of cycle 1.
    loop = budgeted(tmp_path, TimedTrainer(clock, cost=lambda number: 1e-3), max_seconds=36)
    run(loop)
    assert cycles(loop) == 3  # 18 s of the first process, and milliseconds.
    loop = budgeted(tmp_path / "b", TimedTrainer(clock, cost=lambda number: 2.0), max_seconds=36)
    run(loop)
    assert cycles(loop) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_seconds": 0}, "`max_seconds` must be positive"),
        ({"max_seconds": "60"}, "`max_seconds` must be a finite number"),
        ({"max_seconds": math.inf}, "`max_seconds` must be a finite number"),
        ({"max_epochs": 3}, "`max_epochs` must be at least 2 m = 4"),
        ({"max_epochs": 20.0}, "`max_epochs` must be an integer"),
        ({"patience": 0}, "`patience` must be an integer >= 1"),
        ({"patience": True}, "`patience` must be an integer >= 1"),
        ({"target": math.nan}, "`target` must be a finite number"),
        ({"target": True}, "`target` must be a finite number"),
    ],
)
def test_bad_budgets_are_refused_with_rule_value_and_cure(changes, message):
    values = {"max_seconds": None, "max_epochs": None, "patience": None, "target": None}
    with pytest.raises(ArgumentError, match=message) as refused:
        check_budgets(**{**values, **changes}, schedule=SCHEDULE)
    assert "Received: " in str(refused.value)


def test_good_budgets_become_numbers_and_one_without_a_cycle_is_warned_of():
    assert check_budgets(60, 25, 1, -1, SCHEDULE) == Budgets(60.0, 25, 1, -1.0)
    assert check_budgets(None, None, None, None, SCHEDULE) == Budgets()
    with pytest.warns(MihaWarning, match="no room for a cycle: 2 m = 4, and a cycle has 7"):
        check_budgets(None, 10, None, None, SCHEDULE)


def test_a_budget_without_room_for_a_cycle_in_which_clones_join_is_warned_of():
    with pytest.warns(MihaWarning, match="no room for a cycle: 2 m = 4, and a cycle has up to 15"):
        check_budgets(None, 18, None, None, SCHEDULE, further=4)


@pytest.mark.parametrize(("crossover", "expected"), [(False, True), (True, False)])
def test_the_seconds_of_a_cycle_are_reckoned_with_clones_that_join(
    tmp_path, clock, crossover, expected
):
    """2 + 7 + 2 s at least; up to 8 s more where four offspring compete."""
    loop = budgeted(tmp_path, TimedTrainer(clock), max_seconds=18, crossover=crossover)
    run(loop)
    assert (cycles(loop) > 0) is expected
    assert clock.now <= 18


@pytest.mark.parametrize("seed", range(5))
def test_cycles_that_a_budget_has_no_room_for_change_nothing(tmp_path, seed):
    """What a restart or a rest is worth depends on the epochs that are left."""
    runs = []
    for c in (6, 600):
        loop = make_loop(
            tmp_path / str(c), c=c, pop_size=4, restarts=4, margin=1.0, rest=True, seed=seed,
            budgets=Budgets(max_epochs=4 + 6 * 9),
        )  # fmt: skip
        run(loop)
        runs.append(loop.log)
    assert runs[0].winners == runs[1].winners
    assert [e["genome"] for e in runs[0].trainings] == [e["genome"] for e in runs[1].trainings]


def test_other_budgets_make_another_run(tmp_path):
    run(budgeted(tmp_path, patience=2))
    with pytest.raises(FileExistsError, match=r"arguments\.budgets\.patience is 2 and not 3"):
        budgeted(tmp_path, patience=3)


def test_an_announcement_of_open_end_is_an_upper_bound():
    text = announcement(SCHEDULE, "logs/x", Budgets(max_seconds=60, target=0.5))
    assert text.startswith("MIHA trains at most 25 epochs: 2 x m=2, and c=3 cycles")
    assert "fewer where max_seconds=60, target=0.5 ends it" in text
    longest = Budgets(max_epochs=20).longest(LongestSchedule(**vars(SCHEDULE)))
    assert announcement(longest, "x", Budgets(max_epochs=20)).startswith("MIHA trains 18 epochs")
    joining = LongestSchedule(**vars(SCHEDULE), further=4)
    text = announcement(joining, "logs/x")
    assert text.startswith(f"MIHA trains at most {25 + 3 * 4 * SCHEDULE.n} epochs")
    assert "clones and at most 4 that join x n=" in text


@pytest.mark.parametrize("make", [Lines, Bar])
def test_the_progress_says_that_it_counts_to_an_upper_bound_and_why_it_stopped(tmp_path, make):
    screen = Console(file=io.StringIO(), force_terminal=make is Bar, width=120, highlight=False)
    shown = make(screen, "val_loss", Budgets(target=9.0))
    loop = budgeted(tmp_path, callbacks=[shown], target=9.0)
    shown.on_run_begin(loop.plan.longest, "logs/x")
    run(loop)
    result = load_run(tmp_path)
    shown.on_run_end(result)
    text = screen.file.getvalue()
    assert "at most 25 epochs" in text
    assert f"Stopped: {result.stopped} Best val_loss" in text.replace("\n", " ")
    assert shown._done == loop.trainer.epochs < ALL
    if make is Bar:
        assert shown._bar.tasks[0].total == shown._bar.tasks[0].completed == shown._done
    else:
        assert f"[{shown._done}/<=25] final training" in text


def test_a_finished_run_that_had_stopped_counts_its_own_epochs(tmp_path):
    loop = budgeted(tmp_path, target=9.0)
    run(loop)
    shown = Lines(Console(file=io.StringIO()), "val_loss", Budgets(target=9.0))
    shown.on_run_begin(loop.plan.longest, "logs/x")
    shown.on_resume(budgeted(tmp_path, target=9.0).recorder.past.trainings)
    assert shown._done == loop.trainer.epochs
    assert "The run was finished before" in shown._console.file.getvalue()
    shown.on_resume([make_network("initial", None, None).describe()])
    assert "Goes on after 1 of at most 14 trainings" in shown._console.file.getvalue()


@pytest.mark.parametrize("epochs", [2, 4, 8, 14, 15, 20, 37, 60, 90, 176, 200, 1000])
def test_a_schedule_of_miha_trains_exactly_the_budget(epochs):
    assert choose_schedule(epochs).epochs == epochs


def test_the_schedule_of_200_epochs_is_the_default_one():
    assert choose_schedule(200) == Schedule(10, 3, 3, 10, 5)


def test_a_budget_without_a_schedule_is_refused():
    with pytest.raises(ArgumentError, match="even number"):
        choose_schedule(3)
