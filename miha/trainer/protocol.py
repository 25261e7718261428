"""What a trainer must do. `tests/contract.py` holds the tests that every one must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from miha.records import Epoch, Genome, Mode, Snapshot
from miha.space import Space


class Mirror(Protocol):
    """A plain network that shows the values of others, one after another."""

    @property
    def network(self) -> Any:
        """The network: the same object all the time."""

    def show(self, snapshot: Snapshot, genome: Genome) -> None:
        """Give it the values of a snapshot and the hyperparameters of a genome."""


class Trainer(Protocol):
    """One live network, and the data it is trained on.

    A clone is trained by `restore`, `express` and `train`, in this order.
    """

    @property
    def space(self) -> Space:
        """What each gene of the network may become."""

    @property
    def backend(self) -> str:
        """Name of the package that does the arithmetic, e.g. ``"tensorflow"``."""

    @property
    def device(self) -> str:
        """Where the network is trained, in words."""

    @property
    def traces(self) -> int:
        """How many programs have been compiled; it must not grow from cycle to cycle."""

    @property
    def metrics(self) -> Mapping[str, Mode | None]:
        """Names of the logged values and the direction in which each is better, where known."""

    @property
    def settings(self) -> dict[str, Any]:
        """How the data is gone through, for the run's record."""

    @property
    def fingerprint(self) -> dict[str, str]:
        """What tells this data and this network from others, as checksums."""

    @property
    def genome(self) -> Genome:
        """The genome that the live network holds, read from the network itself."""

    def snapshot(self) -> Snapshot:
        """Copy the live network's values."""

    def restore(self, snapshot: Snapshot) -> None:
        """Give the live network the values of a snapshot, and the optimizer that it names."""

    def express(self, genome: Genome) -> None:
        """Give the live network the hyperparameters of a genome, and read them back.

        A new optimizer starts fresh; an unchanged one keeps its slots.

        Raises:
            TrainerError: The network does not hold the genome afterwards.
        """

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], None],
    ) -> tuple[Epoch, ...]:
        """Train the live network, and evaluate it after each epoch.

        Stops early when the training loss is no longer finite.

        Args:
            epochs: How many.
            order: Draws the order of samples of each epoch.
            noise: Draws the seeds of Dropout and its like; None leaves them as they are.
            on_epoch: Called after each epoch.

        Returns:
            The trained epochs.
        """

    def finalize(self) -> dict[str, Any]:
        """Do to the weights what `fit` does after its last epoch (averaged weights, say).

        Returns:
            The values of a new evaluation; empty where nothing was done.
        """

    def export(self, snapshot: Snapshot, genome: Genome) -> bytes:
        """Return a Keras v3 archive of a plain network; may be called while another trains."""

    def recall(self, archive: bytes) -> Snapshot:
        """Return the values of an archive that this trainer exported, ready to `restore`.

        The states of seeds, which an archive does not hold, are some or other: `train` draws
        them anew.
        """

    @property
    def mirror(self) -> Mirror | None:
        """A network that callbacks of Keras may look at; None where there are none."""

    def load(self, archive: bytes) -> Any:
        """Return the plain Keras network of an archive that this trainer exported."""
