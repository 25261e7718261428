"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from miha.callbacks import Callback
from miha.options import Budget
from miha.records import Epoch, Network, Schedule, Task, TrainingRecord
from miha.search.budgets import announcement
from miha.storage.folder import archive_name

if TYPE_CHECKING:
    from miha.results.result import Result


UNLIMITED = Budget()


def make_progress(verbose: int, monitor: str, budget: Budget = UNLIMITED) -> list[Callback]:
    """Return who shows the progress.

    Args:
        verbose: 0: nobody; 1: a bar where the output can show one, else lines; 2: lines.
        monitor: Name of the value to show.
        budget: What may end the run before its last cycle.
    """
    console = Console(highlight=False, soft_wrap=True)
    if verbose == 0:
        return []
    kind = Bar if verbose == 1 and _is_live(console) else Lines
    return [kind(console, monitor, budget)]


def _is_live(console: Console) -> bool:
    """Tell whether the output can show something that moves."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None  # What rich moves things with there.
    return console.is_terminal


class Lines(Callback):
    """One plain line for each training.

    Args:
        console: Where to.
        monitor: Name of the value to show.
        budget: What may end the run before its last cycle.
    """

    def __init__(self, console: Console, monitor: str, budget: Budget = UNLIMITED) -> None:
        self._console = console
        self._monitor = monitor
        self._budget = budget
        self._schedule = Schedule(0, 0, 0, 0, 0)
        self._done = 0

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run."""
        self._schedule, self._done = schedule, 0
        self._say(announcement(schedule, run_dir, self._budget))

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Say what is done already."""
        self._done = epochs_of(trainings, self._schedule)
        line = resume_line(trainings, self._schedule, self._budget)
        self._say(f"{self._count} {line}")

    def on_training_end(self, network: Network) -> None:
        """Say how a training went."""
        record = network.record
        self._done += planned_epochs(record, self._schedule)
        change = f", {record.change.text}" if record.is_clone else ""
        change += ", pruned" if record.pruned else ""
        value = f"{self._monitor} {record.value:.4g}"
        self._say(f"{self._count} {place(record)}{change}: {value}")

    def on_cycle_end(
        self, cycle: int, clones: Sequence[TrainingRecord], winner: TrainingRecord | None
    ) -> None:
        """Say who won."""
        self._say(winner_line(cycle, winner))

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        self._say(end_line(result))

    @property
    def _count(self) -> str:
        most = "<=" if self._budget.is_open else ""
        return f"[{self._done}/{most}{self._schedule.epochs}]"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


class Bar(Callback):
    """A bar over all epochs of the run, and a line for each cycle.

    Args:
        console: Where to.
        monitor: Name of the value to show.
        budget: What may end the run before its last cycle.
    """

    def __init__(self, console: Console, monitor: str, budget: Budget = UNLIMITED) -> None:
        self._monitor = monitor
        self._budget = budget
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"epochs{' at most' if budget.is_open else ''}  {{task.fields[values]}}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._row = self._bar.add_task("", total=None, values="")
        self._schedule = Schedule(0, 0, 0, 0, 0)
        self._done = 0
        self._running = Counter[str]()  # Epochs of each training; several may run at once.

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run and start the bar."""
        self._say(announcement(schedule, run_dir, self._budget))
        self._schedule, self._done, self._running = schedule, 0, Counter()
        self._bar.update(self._row, total=schedule.epochs, completed=0)
        self._bar.start()

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Advance by what is done already."""
        self._done = epochs_of(trainings, self._schedule)
        self._bar.update(self._row, completed=self._done)
        self._say(resume_line(trainings, self._schedule, self._budget))

    def on_training_begin(self, task: Task) -> None:
        """Show what is trained."""
        self._running[task.archive] = 0
        self._bar.update(self._row, description=place(task))

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Advance by an epoch."""
        shown = {name: epoch.logs[name] for name in ("loss", self._monitor) if name in epoch.logs}
        values = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self._running[task.archive] += 1
        self._bar.update(self._row, completed=self._completed, values=values)

    def on_training_end(self, network: Network) -> None:
        """Count the epochs that a diverged network did not need."""
        record = network.record
        self._running.pop(archive_name(record.phase, record.cycle, record.clone), None)
        self._done += planned_epochs(record, self._schedule)
        self._bar.update(self._row, completed=self._completed)

    def on_cycle_end(
        self, cycle: int, clones: Sequence[TrainingRecord], winner: TrainingRecord | None
    ) -> None:
        """Say who won."""
        self._say(winner_line(cycle, winner))

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        if result.stopped is not None:
            self._bar.update(self._row, total=self._done)
        self.close()
        self._say(end_line(result))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    @property
    def _completed(self) -> int:
        return self._done + sum(self._running.values())

    def _say(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


def epochs_of(trainings: Sequence[TrainingRecord], schedule: Schedule) -> int:
    """Return how many planned epochs finished trainings have had."""
    return sum(planned_epochs(record, schedule) for record in trainings)


def planned_epochs(record: TrainingRecord, schedule: Schedule) -> int:
    """Return the epochs that a training has used up of the run's total.

    A clone that failed has used up its n. One that was pruned has left some to the winner.
    """
    is_done = record.failure is None or record.pruned
    return len(record.epochs) if is_done else schedule.epochs_of(record.phase)


def resume_line(
    trainings: Sequence[TrainingRecord], schedule: Schedule, budget: Budget = UNLIMITED
) -> str:
    """Say how much of a run an earlier process has done."""
    if trainings[-1].phase == "final":
        return "The run was finished before: nothing is trained"
    most = "at most " if budget.is_open else ""
    return f"Goes on after {len(trainings)} of {most}{schedule.trainings} trainings"


def end_line(result: Result) -> str:
    """Say how a run ended."""
    stopped = "" if result.stopped is None else f"Stopped: {result.stopped} "
    return f"{stopped}Best {result.monitor}: {result.best_value:.4g}. Folder: {result.run_dir}"


def place(task: Task | TrainingRecord) -> str:
    """Say where in the run a training is."""
    if task.phase == "clone":
        return f"cycle {task.cycle}, clone {task.clone}"
    return f"cycle {task.cycle}, winner" if task.phase == "winner" else f"{task.phase} training"


def winner_line(cycle: int, winner: TrainingRecord | None) -> str:
    """Say which clone of a cycle was selected."""
    if winner is None:
        return f"Cycle {cycle}: every clone has failed; the network goes on unchanged"
    fitness = "" if winner.fitness is None else f" (fitness {winner.fitness:.4g})"
    return f"Cycle {cycle}: {winner.change.text} wins{fitness}"
