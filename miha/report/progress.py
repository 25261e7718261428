"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from miha.callbacks import Callback
from miha.records import Epoch, Network, Schedule, Task
from miha.search.budgets import Budgets

if TYPE_CHECKING:
    from miha.results.result import Result

Entries = Sequence[Mapping[str, Any]]

UNLIMITED = Budgets()


def make_progress(verbose: int, monitor: str, budgets: Budgets = UNLIMITED) -> list[Callback]:
    """Return what shows the progress.

    Args:
        verbose: 0: nothing; 1: a bar where the output can show one, else lines; 2: lines.
        monitor: Name of the value to show.
        budgets: What may end the run before its last cycle.
    """
    if verbose == 0:
        return []
    console = Console(highlight=False, soft_wrap=True)
    if verbose == 1 and _can_show_bar(console):
        return [Bar(console, monitor, budgets)]
    return [Lines(console, monitor, budgets)]


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
        budgets: What may end the run before its last cycle.
    """

    def __init__(self, console: Console, monitor: str, budgets: Budgets = UNLIMITED) -> None:
        self._console = console
        self._monitor = monitor
        self._budgets = budgets
        self._schedule = Schedule(0, 0, 0, 0, 0)
        # Epochs of the finished trainings.
        self._done = 0

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Announce the run."""
        self._schedule = schedule
        self._done = 0
        self._say(announcement(schedule, run_dir, self._budgets))

    def on_resume(self, trainings: Entries) -> None:
        """Count what is done already."""
        self._done = epochs_of(trainings, self._schedule)

    def on_training_end(self, network: Network) -> None:
        """Count all planned epochs: a network that diverged did not need them all."""
        self._done += network.task.epochs

    def on_cycle_end(self, cycle: int, clones: Entries) -> None:
        """Say who won."""
        self._say(winner_line(cycle, clones))

    def on_run_end(self, result: Result) -> None:
        """Say how the run ended."""
        self._say(end_line(result))

    def _say(self, text: str) -> None:
        # A layer's name may look like markup.
        self._console.print(text, markup=False)


class Lines(_Shown):
    """One plain line for each training."""

    def on_resume(self, trainings: Entries) -> None:
        """Say what is done already."""
        super().on_resume(trainings)
        line = resume_line(trainings, self._schedule, self._budgets)
        self._say(f"{self._count} {line}")

    def on_training_end(self, network: Network) -> None:
        """Say how a training went."""
        super().on_training_end(network)
        name = place(network.task)
        if network.task.phase == "clone":
            name += f", {network.task.change.text}"
        self._say(f"{self._count} {name}: {self._monitor} {network.value:.4g}")

    @property
    def _count(self) -> str:
        most = "<=" if self._budgets.is_open else ""
        return f"[{self._done}/{most}{self._schedule.epochs}]"


class Bar(_Shown):
    """A bar over all epochs of the run, and a line for each cycle."""

    def __init__(self, console: Console, monitor: str, budgets: Budgets = UNLIMITED) -> None:
        super().__init__(console, monitor, budgets)
        unit = "epochs at most" if budgets.is_open else "epochs"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{unit}  {{task.fields[values]}}"),
            TimeRemainingColumn(),
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

    def on_resume(self, trainings: Entries) -> None:
        """Advance by what is done already."""
        super().on_resume(trainings)
        self._update(completed=self._done)
        line = resume_line(trainings, self._schedule, self._budgets)
        self._say(line)

    def on_training_begin(self, task: Task) -> None:
        """Show what is trained."""
        self._running[task.archive] = 0
        self._update(description=place(task))

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Advance by an epoch."""
        values: list[str] = []
        # The loss may be what is monitored: then it is shown once.
        for name in dict.fromkeys(["loss", self._monitor]):
            if name in epoch.logs:
                values.append(f"{name} {epoch.logs[name]:.4g}")
        self._running[task.archive] += 1
        self._update(completed=self._completed, values="  ".join(values))

    def on_training_end(self, network: Network) -> None:
        """Advance by the epochs that a diverged network did not need."""
        super().on_training_end(network)
        self._running.pop(network.task.archive, None)
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

    def _update(self, **fields: Any) -> None:
        self._bar.update(self._row, **fields)

    @property
    def _completed(self) -> int:
        return self._done + sum(self._running.values())


def announcement(schedule: Schedule, run_dir: str, budgets: Budgets = UNLIMITED) -> str:
    """Return how many epochs there will be, or at most, before the first."""
    ends = budgets.open_ends
    at_most = "at most " if ends else ""
    fewer = f", fewer where {ends} ends it" if ends else ""
    return (
        f"MIHA trains {at_most}{schedule.epochs} epochs: 2 x m={schedule.m}, and "
        f"c={schedule.c} cycles of pop_size={schedule.pop_size} clones x n={schedule.n} and "
        f"k={schedule.k}{fewer}. Folder: {run_dir}"
    )


def epochs_of(trainings: Entries, schedule: Schedule) -> int:
    """Return how many planned epochs finished trainings have had."""
    epochs = 0
    for training in trainings:
        # Where the target was reached, the last training has none.
        if training["phase"] != "final" or training["epochs"]:
            epochs += schedule.epochs_of(training["phase"])
    return epochs


def resume_line(trainings: Entries, schedule: Schedule, budgets: Budgets = UNLIMITED) -> str:
    """Return how much of a run an earlier process has done."""
    if trainings[-1]["phase"] == "final":
        return "The run was finished before: nothing is trained"
    at_most = "at most " if budgets.is_open else ""
    return f"Goes on after {len(trainings)} of {at_most}{schedule.trainings} trainings"


def end_line(result: Result) -> str:
    """Return how a run ended."""
    stopped = "" if result.stopped is None else f"Stopped: {result.stopped} "
    return f"{stopped}Best {result.monitor}: {result.best_value:.4g}. Folder: {result.run_dir}"


def place(task: Task) -> str:
    """Return where in the run a training is."""
    if task.phase == "clone":
        return f"cycle {task.cycle}, clone {task.clone}"
    if task.phase == "winner":
        return f"cycle {task.cycle}, winner"
    return f"{task.phase} training"


def winner_line(cycle: int, clones: Entries) -> str:
    """Return which clone of a cycle was selected."""
    for row in clones:
        if row["selected"]:
            return f"Cycle {cycle}: {row['change']} wins (fitness {row['fitness']:.4g})"
    return f"Cycle {cycle}: every clone has failed; the network goes on unchanged"
