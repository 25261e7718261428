"""Clones in other processes of which nobody waits for the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from miha.executors.durations import expected_seconds
from miha.executors.line import Line
from miha.executors.protocol import Workers
from miha.executors.training import Training
from miha.records import UNCHANGED, Network, Snapshot, Task


class Asynchronous:
    """Trains the clones of several cycles on workers, and gives them as they come.

    The control is handed out first, since no cycle is decided without it; then the longest.

    Args:
        training: Judges the clones.
        workers: Train them.
        trainings: The journal's entries so far: they tell how long a clone takes.
    """

    def __init__(
        self, training: Training, workers: Workers, trainings: Sequence[Mapping[str, Any]]
    ) -> None:
        self._trainings = trainings
        self._line = Line(training, workers)

    @property
    def waiting(self) -> list[Task]:
        """The clones that no worker has begun."""
        return self._line.waiting

    @property
    def unfinished(self) -> list[Task]:
        """The clones that have not come."""
        return self._line.unfinished

    def add(self, tasks: Sequence[Task], parent: Network, values: Snapshot) -> None:
        """Have clones of one cycle trained, after those that wait already.

        Args:
            tasks: What to train.
            parent: The network to go on from.
            values: The parent's.
        """
        expected = expected_seconds(self._trainings)
        order = sorted(
            tasks, key=lambda task: (task.change.gene != UNCHANGED.gene, -expected(task))
        )
        self._line.add(order, parent, values)

    def take(self, cycle: int | None) -> Network:
        """Wait for the next clone that comes.

        Args:
            cycle: The one whose clones compete now; those of others are late.
        """
        network = self._line.network(*self._line.take())
        return replace(network, late=network.task.cycle != cycle)
