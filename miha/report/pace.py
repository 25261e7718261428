"""How far a run is: its epochs, the trainings at work, the best value, the time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from miha.callbacks import Callback
from miha.options import Budget
from miha.records import Epoch, Mode, Network, Schedule, Task, TrainingRecord, is_better
from miha.storage.folder import archive_name

UNLIMITED = Budget()


@dataclass
class Work:
    """A training that is at work.

    Attributes:
        task: What is trained.
        epochs: Epochs that it has finished.
    """

    task: Task
    epochs: int = 0

    @property
    def text(self) -> str:
        """What is trained, in words: ``"cycle 5, clone 4: adam -> lion, epoch 2 of 3"``."""
        return ", ".join(filter(None, [self.name, self.epoch]))

    @property
    def name(self) -> str:
        """Which training it is, and what a clone is."""
        name = place(self.task)
        if self.task.phase != "clone":
            return name
        return f"{name}: {'the control' if self.task.change.is_control else self.task.change.text}"

    @property
    def epoch(self) -> str:
        """Which epoch is at work: the one after those that are finished."""
        if not self.task.epochs:
            return ""
        present = min(self.epochs + 1, self.task.epochs)
        return f"epoch {present} of {self.task.epochs}"


class Pace(Callback):
    """Counts what a run does; a bar shows it on a terminal, a file tells it to `miha watch`.

    Args:
        monitor: Name of the monitored value.
        mode: Whether it is better small or large.
        budget: What may end the run before its last cycle.
    """

    def __init__(self, monitor: str, mode: Mode, budget: Budget = UNLIMITED) -> None:
        self.monitor = monitor
        self.best = math.nan
        self.schedule = Schedule(0, 0, 0, 0, 0)
        # Epochs of the finished trainings.
        self.finished = 0
        self.is_open = budget.is_open
        self._mode = mode
        # Several trainings may be at work at once. The last one is the one of the last event.
        self._work: dict[str, Work] = {}
        self._seconds_before = 0.0
        self._began = time.monotonic()
        # The first epoch compiles the network: it says nothing of the others.
        self._first_epoch: tuple[float, int] | None = None
        self._last_epoch = 0.0

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Begin to count."""
        self.schedule = schedule
        self.finished = 0
        self.best = math.nan
        self._work.clear()
        self._seconds_before = 0.0
        self._began = time.monotonic()
        self._first_epoch = None

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Count what is done already."""
        self.finished = epochs_of(trainings, self.schedule)
        self._seconds_before = sum(record.wall_seconds for record in trainings)
        for record in trainings:
            self._see(record)

    def on_training_begin(self, task: Task) -> None:
        """Note what is trained."""
        self._work[task.archive] = Work(task)

    def on_training_resume(self, task: Task, epochs: Sequence[Epoch]) -> None:
        """Count the epochs that an earlier process has trained."""
        self._work[task.archive] = Work(task, len(epochs))
        self._seconds_before += sum(epoch.seconds for epoch in epochs)

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Count an epoch."""
        work = self._work.pop(task.archive, Work(task))
        work.epochs += 1
        self._work[task.archive] = work
        self._last_epoch = time.monotonic()
        if self._first_epoch is None:
            self._first_epoch = self._last_epoch, self.done

    def on_training_end(self, network: Network) -> None:
        """Count the epochs that a training has used up."""
        record = network.record
        self.finished += planned_epochs(record, self.schedule)
        self._work.pop(archive_name(record.phase, record.cycle, record.clone), None)
        self._see(record)

    def _see(self, record: TrainingRecord) -> None:
        if record.has_seen_validation:
            return
        if is_better(record.value, self.best, self._mode):
            self.best = record.value

    @property
    def work(self) -> list[Work]:
        """The trainings at work, the one of the last event last."""
        return list(self._work.values())

    @property
    def done(self) -> int:
        """Epochs so far, those of the trainings at work among them."""
        return self.finished + sum(work.epochs for work in self._work.values())

    @property
    def elapsed(self) -> float:
        """Seconds of the run so far, those of processes before this one among them."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def left(self) -> float | None:
        """Seconds that the rest of the run will take; None where nothing tells it yet."""
        if self._first_epoch is None:
            return None
        began, before = self._first_epoch
        epochs = self.done - before
        if epochs < 1:
            return None
        seconds = (self._last_epoch - began) / epochs
        passed = time.monotonic() - self._last_epoch
        return max(0.0, (self.schedule.epochs - self.done) * seconds - passed)


def epochs_of(trainings: Sequence[TrainingRecord], schedule: Schedule) -> int:
    """Return how many planned epochs finished trainings have had."""
    return sum(planned_epochs(record, schedule) for record in trainings)


def planned_epochs(record: TrainingRecord, schedule: Schedule) -> int:
    """Return the epochs that a training has used up of the run's total."""
    # One that failed has used up all that it was to have.
    if record.failure is None:
        return len(record.epochs)
    return max(len(record.epochs), schedule.epochs_of(record.phase))


def place(task: Task | TrainingRecord) -> str:
    """Return where in the run a training is."""
    if task.phase == "clone":
        return f"cycle {task.cycle}, clone {task.clone}"
    if task.phase == "winner":
        return f"cycle {task.cycle}, winner"
    return f"{task.phase} training"


def clock(seconds: float | None) -> str:
    """Return a time as clocks show it: ``"0:45"``, ``"1:02:03"``; dashes where it is unknown."""
    if seconds is None:
        return "-:--"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}"
