"""Configurations that are tried one after another, whatever came of those before."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from miha.compare.configurations import ConfigurationSpace
from miha.compare.strategies.base import Strategy
from miha.compare.task import Model, Task
from miha.records import Genome

TRIALS = 10
"""Trials that a budget is divided into, where nothing prunes: 20 epochs each of 200."""


def epochs_of_trial(epochs: int, wish: int | None) -> int:
    """Return the most epochs of one trial."""
    return wish or max(1, epochs // TRIALS)


def try_out(
    task: Task,
    trials: Iterable[tuple[Genome, int]],
) -> Model:
    """Train configurations one after another, each so many epochs; return the best network."""
    for number, (genome, epochs) in enumerate(trials):
        if task.meter.is_over:
            break
        model = task.build(genome, number)
        model.fit(**task.arguments(genome), epochs=epochs)
    return task.best()


@dataclass(frozen=True)
class RandomSearch(Strategy):
    """The start, then configurations drawn at random.

    Attributes:
        trial_epochs: Epochs of each; None: a tenth of the budget.
    """

    name: str = "random search"
    trial_epochs: int | None = None

    def run(self, task: Task) -> Model:
        """Try out configurations until the budget is spent."""
        epochs = epochs_of_trial(task.epochs, self.trial_epochs)
        rng = task.generator("random search")
        drawn = (task.space.draw(rng) for _ in itertools.count())
        genomes = itertools.chain([task.start], drawn)
        return try_out(task, ((genome, epochs) for genome in genomes))


@dataclass(frozen=True)
class GridSearch(Strategy):
    """Every combination of a few values; all layers have the same activation.

    Attributes:
        optimizers: Values of the grid, of which those in the space count.
        activations: Likewise.
        rates: How many learning rates, evenly spread on a logarithmic scale.
    """

    name: str = "grid search"
    optimizers: tuple[str, ...] = ("sgd", "adam", "rmsprop")
    activations: tuple[str, ...] = ("relu", "tanh", "gelu")
    rates: int = 3

    def run(self, task: Task) -> Model:
        """Try out the grid, in an order drawn at random, as evenly as the budget allows."""
        grid = self.grid(task.space, task.start.batch_size)
        order = task.generator("grid search").permutation(len(grid))
        epochs, rest = divmod(task.epochs, len(grid))
        trials = []
        for number, place in enumerate(order):
            # What is left of the budget goes to the first trials, an epoch each.
            more = 1 if number < rest else 0
            trials.append((grid[place], epochs + more))
        return try_out(task, trials)

    def obstacle(
        self,
        space: ConfigurationSpace,
        epochs: int,
    ) -> str | None:
        """Say that the budget is smaller than the grid, where it is."""
        points = len(self.grid(space, 1))
        if epochs < points:
            return f"its grid of {points} configurations does not fit into {epochs} epochs"
        return super().obstacle(space, epochs)

    def grid(
        self,
        space: ConfigurationSpace,
        batch_size: int,
    ) -> list[Genome]:
        """Return the configurations of the grid."""
        optimizers = [name for name in self.optimizers if name in space.optimizers]
        activations = [name for name in self.activations if name in space.activations]
        combinations = itertools.product(
            optimizers or space.optimizers,
            np.geomspace(*space.learning_rate, self.rates),
            activations or space.activations,
        )
        found = []
        for optimizer, rate, activation in combinations:
            slots = tuple((slot, activation) for slot in space.slots)
            found.append(Genome(optimizer, float(rate), batch_size, slots))
        return found


@dataclass(frozen=True)
class ThenTrain(Strategy):
    """A search with a part of the budget, and the training of what it finds with the rest.

    Attributes:
        search: The strategy that searches.
        epochs: Epochs of the final training, from fresh weights.
    """

    name: str
    search: Strategy
    epochs: int

    def run(self, task: Task) -> Model:
        """Search, then train the best configuration from fresh weights."""
        search = task.part(task.epochs - self.epochs, "search")
        self.search.run(search)
        genome = search.pick().genome
        model = task.build(genome)
        model.fit(**task.arguments(genome), epochs=self.epochs)
        return task.best()

    def obstacle(
        self,
        space: ConfigurationSpace,
        epochs: int,
    ) -> str | None:
        """Say what the search's obstacle is, or that there is nothing left for it."""
        if self.epochs >= epochs:
            return f"a final training of {self.epochs} epochs leaves none of {epochs} to search"
        return self.search.obstacle(space, epochs - self.epochs)
