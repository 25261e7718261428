"""Clones in other processes: handed out one at a time, taken in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miha.executors.durations import expected_seconds
from miha.executors.line import Line
from miha.executors.protocol import Workers
from miha.executors.training import Training
from miha.records import Network, Snapshot, Task


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
        expected, line = expected_seconds(self.trainings), Line(self.training, self.workers)
        line.add(sorted(tasks[done:], key=lambda task: -expected(task)), parent, values)
        arrived = {}
        for task in tasks[done:]:
            while task.clone not in arrived:
                errand, outcome = line.take()
                arrived[errand.task.clone] = errand, outcome
            yield line.network(*arrived.pop(task.clone))
