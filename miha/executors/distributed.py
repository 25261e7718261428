"""Clones in other processes: handed out one at a time, taken in whatever order they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miha.errors import MihaError
from miha.executors.durations import expected_seconds
from miha.executors.protocol import Failure, Lost, Outcome, Workers
from miha.records import Network, Snapshot, Task
from miha.runlog import warn
from miha.training import Training, failed

MOST_LOSSES = 2
"""Workers that a clone may take with it before it has failed."""


@dataclass(frozen=True)
class Distributed:
    """Trains clones on workers, the longest first, so that none waits long at the end.

    Attributes:
        training: Judges the clones.
        workers: Train them.
        trainings: The journal's entries so far: they tell how long a clone takes.
    """

    training: Training
    workers: Workers
    trainings: Sequence[Mapping[str, Any]]

    def train(
        self, tasks: Sequence[Task], done: int, parent: Network, values: Snapshot
    ) -> Iterator[Network]:
        """See `CycleTrainer`."""
        self.workers.share(parent.genome, values)
        arrived: dict[int, Outcome] = {}
        arrivals = self._arrivals(tasks, done)
        for place in range(done, len(tasks)):
            while place not in arrived:
                number, outcome = next(arrivals)
                arrived[number] = outcome
            yield self._network(tasks[place], parent, arrived.pop(place))

    def _arrivals(self, tasks: Sequence[Task], done: int) -> Iterator[tuple[int, Outcome]]:
        """Yield what becomes of the clones, as they come."""
        expected = expected_seconds(self.trainings)
        waiting = sorted(range(done, len(tasks)), key=lambda i: -expected(tasks[i]))
        losses, missing = Counter[int](), len(waiting)
        while missing:
            while waiting and self.workers.free:
                number = waiting.pop(0)
                self.workers.submit(number, tasks[number])
            for number, outcome in self.workers.gather():
                if isinstance(outcome, Lost):
                    losses[number] += outcome.by_clone
                    if _is_repeated(tasks[number], outcome, losses[number]):
                        waiting.insert(0, number)
                        continue
                missing -= 1
                yield number, _outcome(outcome)

    def _network(self, task: Task, parent: Network, outcome: Outcome) -> Network:
        """Tell who watches what a clone has become, and judge it."""
        self.training.begin(task)
        for epoch in outcome.epochs:
            self.training.end_epoch(task, epoch)
        failure = outcome.failure
        if failure is not None and failure.ends_run:
            raise MihaError(failure.text)
        if failure is not None or outcome.snapshot is None:
            told = failure or Failure("no values came back.", "no values came back")
            return failed(task, parent, told.text, told.traceback)
        return self.training.judge(task, parent, outcome.epochs, outcome.snapshot)


def _outcome(outcome: Outcome | Lost) -> Outcome:
    if isinstance(outcome, Outcome):
        return outcome
    text = f"the clone has taken {MOST_LOSSES} workers with it: {outcome.why}"
    return Outcome((), None, Failure(text, text))


def _is_repeated(task: Task, lost: Lost, losses: int) -> bool:
    """Tell whether a clone whose worker is gone is trained again, and log it."""
    is_repeated = losses < MOST_LOSSES
    then = "it is trained again" if is_repeated else "it has failed"
    warn(f"Clone {task.clone} of cycle {task.cycle} has lost its worker, {then}: {lost.why}")
    return is_repeated
