"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

from miha.callbacks import Callback
from miha.options import Budget
from miha.records import Epoch, Mode, Network, Schedule, Task, TrainingRecord
from miha.report.pace import UNLIMITED, Pace, clock, epochs_of, place, planned_epochs
from miha.results.verdict import ending
from miha.search.budgets import announcement

if TYPE_CHECKING:
    from miha.results.result import Result


def make_progress(
    verbose: int | Literal["auto"],
    monitor: str,
    mode: Mode = "min",
    budget: Budget = UNLIMITED,
) -> list[Callback]:
    """Return what shows the progress.

    Args:
        verbose: 0: nothing; 1 or "auto": a bar where the output can show one, else lines; 2:
            lines.
        monitor: Name of the value to show.
        mode: Whether it is better small or large.
        budget: What may end the run before its last cycle.
    """
    if verbose == 0:
        return []
    console = Console(highlight=False, soft_wrap=True)
    if verbose in (1, "auto") and _can_show_bar(console):
        return [Bar(console, monitor, budget, mode)]
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
    """A bar over all epochs, the present training below it, and a line for each cycle."""

    def __init__(
        self,
        console: Console,
        monitor: str,
        budget: Budget = UNLIMITED,
        mode: Mode = "min",
    ) -> None:
        super().__init__(console, monitor, budget)
        self._pace = Pace(monitor, mode, budget)
        most = "<=" if budget.is_open else ""
        self._bar = _WithPresent(
            # The bar comes last and takes what is left: a narrow terminal cuts no number.
            TextColumn(f"{{task.completed}}/{most}{{task.total}} epochs"),
            _Time(self._pace),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            console=console,
        )
        self._row = self._bar.add_task("", total=0)

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run and start the bar."""
        super().on_run_begin(schedule, run_dir)
        self._pace.on_run_begin(schedule, run_dir)
        self._bar.present = ()
        self._show()
        self._bar.start()

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Advance by what is done already."""
        super().on_resume(trainings)
        self._pace.on_resume(trainings)
        self._show()
        line = resume_line(trainings, self._schedule, self._budget)
        self._say(line)

    def on_training_begin(self, task: Task) -> None:
        """Show what is trained; the numbers of what was trained before are gone."""
        self._pace.on_training_begin(task)
        self._tell({})

    def on_training_resume(self, task: Task, epochs: Sequence[Epoch]) -> None:
        """Advance by what an earlier process has trained."""
        self._pace.on_training_resume(task, epochs)
        self._tell({})

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Advance by an epoch."""
        self._pace.on_epoch_end(task, epoch)
        self._tell(epoch.logs)

    def on_training_end(self, network: Network) -> None:
        """Advance by the epochs that a diverged network did not need."""
        super().on_training_end(network)
        self._pace.on_training_end(network)
        self._show()

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        # A run that was stopped is complete, with fewer epochs than planned.
        if result.stopped is not None:
            self._bar.update(self._row, total=self._done)
        self._bar.present = ()
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

    def _tell(self, logs: Mapping[str, Any]) -> None:
        """Show what is trained, how good it is, and what the best is."""
        work = self._pace.work[-1]
        numbers = [work.epoch] if work.epoch else []
        # The monitored value and the best one come first: a narrow terminal cuts the end.
        names = list(dict.fromkeys([self._monitor, "loss", *logs]))
        values = [f"{name} {logs[name]:.4g}" for name in names if _is_number(logs.get(name))]
        numbers += values[:1]
        if math.isfinite(self._pace.best):
            numbers.append(f"best {self._pace.best:.4g}")
        self._bar.present = (work.name, "  ".join([*numbers, *values[1:]]))
        self._show()

    def _show(self) -> None:
        self._bar.update(self._row, total=self._schedule.epochs, completed=self._pace.done)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


class _Time(ProgressColumn):
    """The time that a run has taken, and the time that it will take."""

    # Seconds: a clock need not be drawn more often.
    max_refresh = 0.5

    def __init__(self, pace: Pace) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._pace = pace

    def render(self, task: Row) -> Text:
        """Return both as a clock shows them."""
        elapsed = clock(self._pace.elapsed)
        return Text(f"{elapsed}, {clock(self._pace.left)} left", style="progress.remaining")


class _WithPresent(Progress):
    """A bar, and lines below it that are cut where the terminal ends."""

    present: Sequence[str] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar and the lines."""
        yield from super().get_renderables()
        for line in self.present:
            # Text takes a layer's name as it is, though it may look like markup.
            yield Text(line, no_wrap=True, overflow="ellipsis")


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
