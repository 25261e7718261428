"""Clones that wait for workers, and those that workers are at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from miha.errors import MihaError
from miha.executors.protocol import Failure, Lost, Outcome, Workers
from miha.executors.training import Training, failed
from miha.records import Network, Snapshot, Task
from miha.storage.text_log import log_warning

MOST_LOSSES = 2
"""Workers that a clone may take with it before it has failed."""


@dataclass(frozen=True)
class Errand:
    """A clone to train.

    Attributes:
        task: What it is.
        parent: The network to go on from, without its values.
        shared: The values, as `Workers.share` has returned them.
    """

    task: Task
    parent: Network
    shared: Any


class Line:
    """Hands clones out to workers in the order given; one that loses its worker comes first again.

    Args:
        training: Judges the clones.
        workers: Train them.
    """

    def __init__(self, training: Training, workers: Workers) -> None:
        self._training = training
        self._workers = workers
        self._waiting: list[int] = []
        self._errands: dict[int, Errand] = {}
        self._losses = Counter[int]()
        self._ready: list[tuple[int, Outcome]] = []
        self._added = 0

    @property
    def waiting(self) -> list[Task]:
        """The clones that no worker has begun."""
        return [self._errands[number].task for number in self._waiting]

    @property
    def unfinished(self) -> list[Task]:
        """The clones that have not come."""
        return [errand.task for errand in self._errands.values()]

    def add(self, tasks: Sequence[Task], parent: Network, values: Snapshot) -> None:
        """Have clones trained after those that wait already, in this order.

        Args:
            tasks: What to train.
            parent: The network to go on from.
            values: The parent's.
        """
        shared = self._workers.share(parent.genome, values)
        parent = replace(parent, snapshot=None)
        for number, task in enumerate(tasks, self._added):
            self._errands[number] = Errand(task, parent, shared)
            self._waiting.append(number)
        self._added += len(tasks)
        self._hand_out()

    def take(self) -> tuple[Errand, Outcome]:
        """Wait for a clone; return the next one that has come."""
        while not self._ready:
            self._gather()
        number, outcome = self._ready.pop(0)
        return self._errands.pop(number), outcome

    def network(self, errand: Errand, outcome: Outcome) -> Network:
        """Tell who watches what a clone has become, and judge it."""
        task, parent = errand.task, errand.parent
        self._training.begin(task)
        for epoch in outcome.epochs:
            self._training.end_epoch(task, epoch)
        failure = outcome.failure
        if failure is not None and failure.ends_run:
            raise MihaError(failure.text)
        if failure is not None or outcome.snapshot is None:
            told = failure or Failure("no values came back.", "no values came back")
            return failed(task, parent, told.text, told.traceback)
        return self._training.judge(task, parent, outcome.epochs, outcome.snapshot)

    def _hand_out(self) -> None:
        while self._waiting and self._workers.free:
            number = self._waiting.pop(0)
            errand = self._errands[number]
            self._workers.submit(number, errand.task, errand.shared)

    def _gather(self) -> None:
        for number, outcome in self._workers.gather():
            if isinstance(outcome, Lost):
                self._losses[number] += outcome.by_clone
                if _is_repeated(self._errands[number].task, outcome, self._losses[number]):
                    self._waiting.insert(0, number)
                    continue
            self._ready.append((number, _outcome(outcome)))
        self._hand_out()


def _outcome(outcome: Outcome | Lost) -> Outcome:
    if isinstance(outcome, Outcome):
        return outcome
    text = f"the clone has taken {MOST_LOSSES} workers with it: {outcome.why}"
    return Outcome((), None, Failure(text, text))


def _is_repeated(task: Task, lost: Lost, losses: int) -> bool:
    """Tell whether a clone whose worker is gone is trained again, and log it."""
    is_repeated = losses < MOST_LOSSES
    then = "it is trained again" if is_repeated else "it has failed"
    log_warning(f"Clone {task.clone} of cycle {task.cycle} has lost its worker, {then}: {lost.why}")
    return is_repeated
