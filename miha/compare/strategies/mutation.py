"""MIHA, as it is and as it was in 2021."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.api import MIHA
from miha.archive.archive import read
from miha.callbacks import Callback
from miha.compare.configurations import ConfigurationSpace
from miha.compare.strategies.base import Strategy
from miha.errors import ArgumentError
from miha.mutations.base import Mutation
from miha.mutations.network import ActivationMutation
from miha.mutations.optimizers import BatchSizeMutation
from miha.records import Epoch, Genome, Network, Schedule
from miha.records import Task as Training
from miha.search.fitness import LevelAndSlope
from miha.space import Space

if TYPE_CHECKING:
    import keras

    from miha.compare.task import Task

SHARE_OF_ENDS = 0.1
"""Share of a run's epochs that are its first and its last m: 2 x 10 of 200."""


@dataclass(frozen=True)
class Miha(Strategy):
    """One training of the start, whose hyperparameters mutate.

    Its clones are compared as MIHA does by default, by ``val_loss``; of its networks, as of every
    strategy's, the one that is best by the comparison's monitor is taken.

    Attributes:
        schedule: m, n, k, c and pop_size, which must train as many epochs as the budget; None:
            as MIHA's defaults, with as many cycles as the budget has room for.
        options: Further arguments of `miha.MIHA`.
    """

    name: str = "MIHA"
    schedule: Schedule | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, task: Task) -> keras.Model:
        """Run MIHA, and return its network with the best monitored value."""
        start, watch = task.start, Watch(task)
        arguments: dict[str, Any] = {"mutations": mutations(task.space)}
        if not task.space.slots:
            arguments["restarts"] = 0  # They would choose activations, which nobody else does here.
        arguments |= self.options
        run = MIHA(
            task.network(start),
            task.x,
            task.y,
            validation_data=task.validation_data,
            batch_size=min(start.batch_size, len(task.x)),
            **vars(self.schedule or schedule_of(task.epochs)),
            space=task.space.search_space,
            seed=task.seed,
            max_seconds=task.time_limit,
            logs=task.folder / "run",
            callbacks=[watch],
            verbose=0,
            **arguments,
        )
        run.optimize()
        return run.trainer.load(read(task.folder / "run" / watch.archive)[1])

    def obstacle(self, space: ConfigurationSpace, epochs: int) -> str | None:
        """Say that the schedule is not that of the budget, where it is not."""
        try:
            trains = (self.schedule or schedule_of(epochs)).epochs
        except ArgumentError:
            return f"no schedule of it trains exactly {epochs} epochs"
        if trains != epochs:
            return f"its schedule trains {trains} epochs, and the budget is {epochs}"
        return super().obstacle(space, epochs)


class Watch(Callback):
    """Counts a run's epochs, and knows which of its networks is the best on the validation data.

    Args:
        task: What the strategy was given.
    """

    def __init__(self, task: Task) -> None:
        self._meter, self._monitor = task.meter, task.monitor
        self.archive = ""

    def on_epoch_end(self, task: Training, epoch: Epoch) -> None:
        """Count an epoch, of the network or of a clone."""
        self._meter.take()
        self._meter.record(epoch.logs[self._monitor])

    def on_training_end(self, network: Network) -> None:
        """Note the archive of the best network so far."""
        if network.archive is None or not network.epochs:
            return
        if self._meter.offer(network.epochs[-1].logs[self._monitor], network.genome):
            self.archive = network.archive


class NeighbourMutation(BatchSizeMutation):
    """Exchanges the batch size for the next smaller or larger one that all strategies choose from.

    Among powers of two that is MIHA's own mutation: it halves or doubles.

    Args:
        sizes: Those of the space.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with a neighbouring batch size; see `Mutation.mutate`."""
        smaller = [size for size in self.sizes if size < genome.batch_size]
        larger = [s for s in self.sizes if genome.batch_size < s <= space.batch_size[1]]
        others = [*smaller[-1:], *larger[:1]]
        return genome.replace(batch_size=others[rng.integers(len(others))]) if others else None


def mutations(space: ConfigurationSpace) -> list[str | Mutation]:
    """Return the mutations of what all strategies choose: not of what MIHA alone could change."""
    names: list[str | Mutation] = ["optimizer", "learning_rate"]
    names.append(NeighbourMutation(space.batch_sizes))
    names += ["activation"] if space.slots else []
    return names + (["activations"] if len(space.slots) > 1 else [])


def schedule_of(epochs: int) -> Schedule:
    """Return a schedule of exactly so many epochs, as near as may be to the defaults.

    With 200 epochs these are the defaults themselves: m=10, n=3, k=3, c=10, pop_size=5.

    Args:
        epochs: At least 2.
    """
    found = [
        Schedule((epochs - c * (5 * n + k)) // 2, n, k, c, 5)
        for n, k in itertools.product((3, 2, 1), repeat=2)
        for c in range(epochs)
        if epochs - c * (5 * n + k) >= 2 and (epochs - c * (5 * n + k)) % 2 == 0
    ]
    if not found:
        raise ArgumentError(
            "`epochs` must make a schedule of MIHA: 2 m + c (pop_size n + k), m at least 1. "
            f"Received: epochs={epochs}. Give an even number, or at least 15."
        )
    return min(found, key=lambda s: (s.c == 0, _oddity(s)))


def _oddity(schedule: Schedule) -> float:
    """Return how far a schedule is from the defaults."""
    share = 2 * schedule.m / schedule.epochs
    few = max(0, 4 - schedule.c) * 0.1  # A few short cycles search more than a single long one.
    return abs(share - SHARE_OF_ENDS) + few + 0.04 * (3 - schedule.n) + 0.03 * (3 - schedule.k)


@dataclass(frozen=True)
class Miha2021(Miha):
    """MIHA by the rules of 2021: training loss, level and slope, no learning-rate gene, no control.

    Of its networks, too, the one with the best monitored value is taken.
    """

    name: str = "MIHA of 2021"
    options: Mapping[str, Any] = field(
        default_factory=lambda: {
            "monitor": "loss",
            "mode": "min",
            "fitness": LevelAndSlope(recovery=True),
            "control": False,
            "restarts": 0,
            "margin": 0.0,
            "rest": False,
            "backtrack": None,
            "anneal": False,
        }
    )

    def run(self, task: Task) -> keras.Model:
        """Run MIHA with the mutations of 2021."""
        old = ["optimizer", BatchSizeMutation(step=10)]
        if task.space.slots:
            old.append(ActivationMutation(keep_function=False))
        return Miha(self.name, self.schedule, {**self.options, "mutations": old}).run(task)
