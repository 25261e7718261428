"""What a trainer must do. `tests/support/contract.py` holds the tests that every one must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from miha.records import Epoch, FinalData, Genome, Mode, Progress, Snapshot, Transition
from miha.space import Space

Way = Literal["fused", "xla"]
"""How a population trains, or a network is compiled, where there is a choice."""


class Mirror(Protocol):
    """A plain network that shows the values of others, one after another."""

    @property
    def network(self) -> Any:
        """The network: the same object all the time."""

    def show(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> None:
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
        """What distinguishes this data and this network from others, as checksums."""

    @property
    def genome(self) -> Genome:
        """The genome of the live network, read from the network itself."""

    @property
    def is_parallel(self) -> bool:
        """Whether the device has more units than a small network can use, as a GPU has."""

    @property
    def compiler(self) -> str:
        """What compiles the network by default."""

    def obstacle(self, way: Way) -> str | None:
        """Why it cannot go a way; None where it can.

        A trainer that can train fused is a `PopulationTrainer`; one that has a choice to compile
        by XLA, an `XlaTrainer`.
        """

    def snapshot(self) -> Snapshot:
        """Copy the live network's values."""

    def restore(self, snapshot: Snapshot) -> None:
        """Give the live network the values of a snapshot, and the optimizer that it names."""

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        """Give the live network the hyperparameters of a genome, and read them back.

        A new optimizer starts fresh; an unchanged one keeps its slots.

        Args:
            genome: What to express.
            transition: What becomes of the network's values.
            rng: Draws the new ones, where there are any.

        Raises:
            TrainerError: The network does not hold the genome afterwards.
        """

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
        progress: Progress | None = None,
        data: FinalData = "train",
    ) -> tuple[Epoch, ...]:
        """Train the live network, and evaluate it after each epoch.

        Stops early when the training loss is no longer finite.

        Args:
            epochs: How many.
            order: Draws the order of samples of each epoch.
            noise: Draws the seeds of Dropout and other noise; None leaves them as they are.
            on_epoch: Called after each epoch. Returns True to stop the training after this epoch.
            rates: Factor of the learning rate in each epoch; None: 1. A schedule of the user's
                decides the rate alone.
            progress: How far an earlier process has come with the same training; None: it begins.
            data: What the samples are taken from.

        Returns:
            The trained epochs, those of the progress among them.
        """

    def progress(self, epochs: Sequence[Epoch], order: np.random.Generator) -> Progress:
        """Return how far a training has come, called where an epoch ends.

        Args:
            epochs: Those of the training so far.
            order: What draws its order of samples.
        """

    def evaluate(self) -> dict[str, Any]:
        """Evaluate the live network as it is.

        Returns:
            What `train` logs of an evaluation, names with their prefix; empty where there is
            nothing to evaluate on.
        """

    def finalize(self) -> dict[str, Any]:
        """Do to the weights what `fit` does after its last epoch (averaged weights, say).

        Returns:
            The values of a new evaluation; empty where nothing was done.
        """

    def export(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> bytes:
        """Return a Keras v3 archive of a plain network; may be called while another trains."""

    def recall(self, archive: bytes) -> Snapshot:
        """Return the values of an archive that this trainer exported, ready to `restore`.

        An archive does not hold the states of seeds: `train` draws new ones.
        """

    @property
    def mirror(self) -> Mirror | None:
        """A network that callbacks of Keras may look at; None where there are none."""

    def load(self, archive: bytes) -> Any:
        """Return the plain Keras network of an archive that this trainer exported."""


XlaScope = Literal["network", "all"]
"""Which trainings XLA compiles: the network's and clones' that need no other program, or all."""


@runtime_checkable
class XlaTrainer(Trainer, Protocol):
    """A trainer that can have epochs compiled by XLA, for each optimizer class and batch size."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, at the batch size that the network has."""

    def use_xla(self, scope: XlaScope) -> None:
        """Have XLA compile the epochs of these trainings."""

    def compile_xla(self) -> None:
        """Compile the network's own program; nothing is trained.

        Raises:
            Exception: XLA cannot compile the network.
        """


@dataclass(frozen=True)
class Origin:
    """How a clone comes by its first values; see `Trainer.express`.

    Attributes:
        parent: The genome that the values were trained with.
        transition: What becomes of them.
        rng: Draws the new ones, where there are any.
    """

    parent: Genome
    transition: Transition
    rng: np.random.Generator


@dataclass(frozen=True)
class Trained:
    """A clone that was trained together with others.

    Attributes:
        epochs: Its epochs.
        snapshot: Copies its values to where they last.
    """

    epochs: tuple[Epoch, ...]
    snapshot: Callable[[], Snapshot]


class PopulationTrainer(Trainer, Protocol):
    """A trainer that can train several clones in one program."""

    def clones_at_once(self, most: int) -> int:
        """Estimate how many clones there is memory for, up to ``most``, without training any.

        Returns:
            1 if not even two.
        """

    def goes_alone(
        self,
        parent: Genome,
        genome: Genome,
        transition: Transition,
    ) -> bool:
        """Return whether a clone can train in no group: its activations blend for an epoch."""

    def measure(
        self,
        clones: int,
    ) -> dict[str, float]:
        """Take a few steps of one clone and of several; the network has learnt something after.

        Returns:
            Seconds of one, ``"alone"``, and of all ``"together"``.
        """

    def train_population(
        self,
        genomes: Sequence[Genome],
        values: Snapshot,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator,
        on_epoch: Callable[[int, Epoch], None],
        origins: Sequence[Origin] | None = None,
    ) -> Sequence[Trained]:
        """Train clones together, each as `restore`, `express` and `train` would alone.

        A clone whose loss is no longer finite stops, and the others continue.

        Args:
            genomes: Those of the clones, all with one optimizer and batch size.
            values: What each begins with.
            epochs: How many.
            order: Draws the order of samples of each epoch, the same for all.
            noise: Draws the seeds of Dropout and other noise, the same for all.
            on_epoch: Called with the place of a clone and its epoch after each.
            origins: How each comes by its first values; by default, it inherits them.

        Returns:
            The clones, in order. An epoch's seconds are the clone's share.

        Raises:
            TrainerError: A clone does not hold its genome.
        """
