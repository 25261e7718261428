"""MIHA, as it is and as it was in 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import miha
from miha.api import MIHA
from miha.archive.archive import read
from miha.callbacks import Callback
from miha.compare.configurations import ConfigurationSpace
from miha.compare.strategies.base import Strategy
from miha.compare.task import Model, Task
from miha.mutations.base import Mutation
from miha.mutations.network import ActivationMutation
from miha.mutations.optimizers import BatchSizeMutation
from miha.records import Epoch, Genome, Network, Schedule
from miha.records import Task as Training
from miha.search.budgets import choose_schedule
from miha.search.fitness import LevelAndSlope
from miha.space import Space


@dataclass(frozen=True)
class Miha(Strategy):
    """One training of the start, whose hyperparameters mutate.

    Its clones are compared as MIHA does by default, by ``val_loss``; of its networks, as of every
    strategy's, the one that is best by the comparison's monitor is taken.

    Attributes:
        schedule: m, n, k, c and pop_size, which must train as many epochs as the budget; None:
            chosen from the budget, as by ``epochs`` of `miha.MIHA`.
        options: Further arguments of `miha.MIHA`.
    """

    name: str = "MIHA"
    schedule: Schedule | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, task: Task) -> Model:
        """Run MIHA, and return its network with the best monitored value."""
        schedule = self.schedule or choose_schedule(task.epochs)
        # MIHA trains without `fit`, which counts the epochs of all others.
        watch = Watch(task)
        arguments: dict[str, Any] = {"mutations": mutations(task.space), **self.options}
        # The network is picked by the comparison's monitor, of archives that stay as they are.
        search = replace(arguments.get("search", miha.Search()), restore_best=False)
        # A restart would choose activations, which nobody else does where no layer is named.
        if not task.space.slots:
            search = replace(search, restarts=0)
        arguments["search"] = search
        run = MIHA(
            task.network(task.start),
            task.x,
            task.y,
            validation_data=task.validation_data,
            batch_size=min(task.start.batch_size, len(task.x)),
            **vars(schedule),
            space=task.space.search_space,
            seed=task.seed,
            budget=miha.Budget(seconds=task.time_limit),
            logs=task.folder / "run",
            callbacks=[watch],
            verbose=0,
            **arguments,
        )
        run.optimize()
        _, snapshot = read(task.folder / "run" / watch.archive)
        return run.trainer.load(snapshot)

    def obstacle(
        self,
        space: ConfigurationSpace,
        epochs: int,
    ) -> str | None:
        """Say that the schedule is not that of the budget, where it is not."""
        schedule = self.schedule or choose_schedule(epochs)
        if schedule.epochs != epochs:
            return f"its schedule trains {schedule.epochs} epochs, and the budget is {epochs}"
        if self.options.get("search", miha.Search()).final_data == "all":
            return "it trains on the validation data, by which networks are picked"
        return super().obstacle(space, epochs)


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
            "search": miha.Search.of_2021(),
        }
    )

    def run(self, task: Task) -> Model:
        """Run MIHA with the mutations of 2021."""
        old = ["optimizer", BatchSizeMutation(step=10)]
        if task.space.slots:
            old.append(ActivationMutation(keep_function=False))
        options = {**self.options, "mutations": old}
        return Miha(self.name, self.schedule, options).run(task)


class Watch(Callback):
    """Counts a run's epochs, and knows which of its networks is the best on validation data."""

    def __init__(self, task: Task) -> None:
        self._meter = task.meter
        self._monitor = task.monitor
        self.archive = ""

    def on_epoch_end(self, task: Training, epoch: Epoch) -> None:
        """Count an epoch, of the network or of a clone."""
        self._meter.take()
        self._meter.record(epoch.logs[self._monitor])

    def on_training_end(self, network: Network) -> None:
        """Note the archive of the best network so far."""
        record = network.record
        if record.archive is None or not record.epochs:
            return
        value = record.epochs[-1].logs[self._monitor]
        if self._meter.offer(value, record.genome):
            self.archive = record.archive


class NeighbourMutation(BatchSizeMutation):
    """Exchanges the batch size for the next smaller or larger one that all strategies choose from.

    Among powers of two that is MIHA's own mutation: it halves or doubles.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: np.random.Generator,
    ) -> Genome | None:
        """Return a genome with a neighbouring batch size; see `Mutation.mutate`."""
        most = space.batch_size[1]
        smaller = [size for size in self.sizes if size < genome.batch_size]
        larger = [size for size in self.sizes if genome.batch_size < size <= most]
        others = smaller[-1:] + larger[:1]
        if not others:
            return None
        place = rng.integers(len(others))
        return genome.replace(batch_size=others[place])


def mutations(space: ConfigurationSpace) -> list[str | Mutation]:
    """Return the mutations of what all strategies choose: not of what MIHA alone could change."""
    found: list[str | Mutation] = ["optimizer", "learning_rate"]
    found.append(NeighbourMutation(space.batch_sizes))
    if space.slots:
        found.append("activation")
    if len(space.slots) > 1:
        found.append("activations")
    if space.input_noise:
        found.append("input_noise")
    if space.augmentation:
        found.append("augmentation")
    return found
