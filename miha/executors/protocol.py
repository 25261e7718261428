"""What an executor must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from miha.records import Network, Snapshot, Task


class Executor(Protocol):
    """Trains the populations of a run."""

    def train(
        self, tasks: Sequence[Task], done: int, parent: Network, values: Snapshot
    ) -> Iterator[Network]:
        """Train the clones of a cycle, each from its parent's values.

        What a clone becomes may depend on ``tasks``, but not on ``done``: a run that goes on
        equals one never interrupted.

        Args:
            tasks: All clones of the cycle.
            done: How many of them, from the first on, are trained and recorded already.
            parent: The network to go on from.
            values: The parent's.

        Yields:
            The clones that are not recorded yet, in their order. What each holds in memory is
            let go of before the next one comes.
        """
