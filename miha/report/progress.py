"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from miha.callbacks import Callback
from miha.options import Budget
from miha.records import Epoch, Network, Schedule, Task, TrainingRecord
from miha.results.verdict import ending
from miha.search.budgets import announcement
from miha.storage.folder import archive_name

if TYPE_CHECKING:
    from miha.results.result import Result

UNLIMITED = Budget()

NARROW = 80
"""Columns of a terminal below which the bar shows the monitored value alone."""


def make_progress(
    verbose: int,
    monitor: str,
    budget: Budget = UNLIMITED,
) -> list[Callback]:
    """Return what shows the progress.

    Args:
        verbose: 0: nothing; 1: a bar where the output can show one, else lines; 2: lines.
        monitor: Name of the value to show.
        budget: What may end the run before its last cycle.
    """
    if verbose == 0:
        return []
    console = Console(highlight=False, soft_wrap=True)
    if verbose == 1 and _can_show_bar(console):
        return [Bar(console, monitor, budget)]
    return [Lines(console, monitor, budget)]


def _can_show_bar(console: Console) -> bool:
    # In a notebook, rich needs ipywidgets to move what it has shown.
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal


class _Shown(Callback):
    """What a bar and lines have in common.

    Args:
        console: Where to show it.
        monitor: Name of the value to show.
        budget: What may end the run before its last cycle.
    """

    def __init__(self, console: Console, monitor: str, budget: Budget = UNLIMITED) -> None:
        self._console = console
        self._monitor = monitor
        self._budget = budget
        self._schedule = Schedule(0, 0, 0, 0, 0)
        # Epochs of the finished trainings.
        self._done = 0

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run."""
        self._schedule = schedule
        self._done = 0
        self._say(announcement(schedule, run_dir, self._budget))

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Count what is done already."""
        self._done = epochs_of(trainings, self._schedule)

    def on_training_end(self, network: Network) -> None:
        """Count the epochs that the training has used up."""
        self._done += planned_epochs(network.record, self._schedule)

    def on_decision(self, text: str) -> None:
        """Say who won and why, or why the network rests or goes back."""
        self._say(text)

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        for line in end_lines(result):
            self._say(line)

    def _say(self, text: str) -> None:
        # A layer's name may look like markup.
        self._console.print(text, markup=False)


class Lines(_Shown):
    """One plain line for each training."""

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Say what is done already."""
        super().on_resume(trainings)
        line = resume_line(trainings, self._schedule, self._budget)
        self._say(f"{self._count} {line}")

    def on_training_end(self, network: Network) -> None:
        """Say how a training went."""
        super().on_training_end(network)
        record = network.record
        name = place(record)
        if record.is_clone:
            name += f", {record.change.text}"
        self._say(f"{self._count} {name}: {self._monitor} {record.value:.4g}")

    @property
    def _count(self) -> str:
        most = "<=" if self._budget.is_open else ""
        return f"[{self._done}/{most}{self._schedule.epochs}]"


class Bar(_Shown):
    """A bar over all epochs of the run, and a line for each cycle."""

    def __init__(self, console: Console, monitor: str, budget: Budget = UNLIMITED) -> None:
        super().__init__(console, monitor, budget)
        self._is_narrow = console.width < NARROW
        at_most = " at most" if budget.is_open and not self._is_narrow else ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            # Where there is little room, the bar is cut, and no number.
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn(f"epochs{at_most}  {{task.fields[values]}}"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
        )
        self._row = self._bar.add_task("", total=None, values="")
        # Epochs of each training that is at work; several may be.
        self._running = Counter[str]()

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run and start the bar."""
        super().on_run_begin(schedule, run_dir)
        self._running.clear()
        self._update(total=schedule.epochs, completed=0)
        self._bar.start()

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Advance by what is done already."""
        super().on_resume(trainings)
        self._update(completed=self._done)
        line = resume_line(trainings, self._schedule, self._budget)
        self._say(line)

    def on_training_begin(self, task: Task) -> None:
        """Show what is trained."""
        self._running[task.archive] = 0
        self._update(description=place(task))

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Advance by an epoch."""
        values: list[str] = []
        shown = [self._monitor] if self._is_narrow else ["loss", self._monitor]
        # The loss may be what is monitored: then it is shown once.
        for name in dict.fromkeys(shown):
            if name in epoch.logs:
                values.append(f"{name} {epoch.logs[name]:.4g}")
        self._running[task.archive] += 1
        self._update(completed=self._completed, values="  ".join(values))

    def on_training_end(self, network: Network) -> None:
        """Advance by the epochs that a diverged network did not need."""
        super().on_training_end(network)
        record = network.record
        self._running.pop(archive_name(record.phase, record.cycle, record.clone), None)
        self._update(completed=self._completed)

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        # A run that was stopped is complete, with fewer epochs than planned.
        if result.stopped is not None:
            self._update(total=self._done)
        self.close()
        super().on_run_end(result)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    def _say(self, text: str) -> None:
        # Where a line must be broken, it is between words, and its rest is indented.
        lines = textwrap.wrap(
            text,
            width=self._console.width,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        super()._say("\n".join(lines))

    def _update(self, **fields: Any) -> None:
        self._bar.update(self._row, **fields)

    @property
    def _completed(self) -> int:
        return self._done + sum(self._running.values())


def epochs_of(trainings: Sequence[TrainingRecord], schedule: Schedule) -> int:
    """Return how many planned epochs finished trainings have had."""
    return sum(planned_epochs(record, schedule) for record in trainings)


def planned_epochs(record: TrainingRecord, schedule: Schedule) -> int:
    """Return the epochs that a training has used up of the run's total."""
    # One that failed has used up all that it was to have.
    if record.failure is None:
        return len(record.epochs)
    return max(len(record.epochs), schedule.epochs_of(record.phase))


def resume_line(
    trainings: Sequence[TrainingRecord], schedule: Schedule, budget: Budget = UNLIMITED
) -> str:
    """Return how much of a run an earlier process has done."""
    if trainings[-1].phase == "final":
        return "The run was finished before: nothing is trained"
    at_most = "at most " if budget.is_open else ""
    return f"Goes on after {len(trainings)} of {at_most}{schedule.trainings} trainings"


def end_lines(result: Result) -> list[str]:
    """Return how a run ended."""
    stopped = [] if result.stopped is None else [f"Stopped: {result.stopped}"]
    folder = f"Folder: {result.run_dir} (`miha show` tells more of it)"
    return [*stopped, *ending(result), folder]


def place(task: Task | TrainingRecord) -> str:
    """Return where in the run a training is."""
    if task.phase == "clone":
        return f"cycle {task.cycle}, clone {task.clone}"
    if task.phase == "winner":
        return f"cycle {task.cycle}, winner"
    return f"{task.phase} training"
