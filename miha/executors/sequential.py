"""One clone after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from miha.executors.training import Training
from miha.records import Network, Snapshot, Task, TrainingRecord


@dataclass(frozen=True)
class SequentialExecutor:
    """Trains one clone after another in the live network.

    Attributes:
        training: Trains one.
    """

    training: Training

    def train(
        self,
        tasks: Sequence[Task],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> Iterator[Network]:
        """See `PopulationExecutor`."""
        for task in tasks[done:]:
            yield self.training.run(task, parent, values)
