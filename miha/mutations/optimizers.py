"""Mutations of how a network is trained: the optimizer, its numbers, and the batch size."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from miha.errors import ArgumentError
from miha.mutations.base import Mutation, draw_one, draw_other
from miha.records import Genome
from miha.space import Space

STEP_IS_RATE = ("adam", "adamw", "nadam", "adamax", "rmsprop")
"""Optimizers whose steps are as long as their learning rate, whatever the gradient.

Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization" (2015), section 2.1.
"""


class OptimizerMutation(Mutation):
    """Exchanges the optimizer; the new one begins with its own default settings.

    Args:
        keep_step: Whether the learning rate stays among optimizers whose steps are as long as it:
            Adam, AdamW, Nadam, Adamax and RMSprop. Otherwise it becomes the new one's default.
        weight: See `Mutation`.
    """

    gene = "optimizer"

    def __init__(
        self,
        keep_step: bool = True,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.keep_step = keep_step

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another optimizer; see `Mutation.mutate`."""
        name = draw_other(list(space.optimizers), genome.optimizer, rng)
        if name is None:
            return None
        child = space.with_optimizer(genome, name)
        have_equal_steps = name in STEP_IS_RATE and genome.optimizer in STEP_IS_RATE
        if self.keep_step and have_equal_steps:
            return child.replace(learning_rate=genome.learning_rate)
        return child


class LearningRateMutation(Mutation):
    """Multiplies the learning rate by a factor of 0.2 to 5, drawn on the log scale.

    Args:
        weight: See `Mutation`; by default twice the others', since no number matters as often
            (K. Greff et al., "LSTM: A Search Space Odyssey", 2017, for one).
    """

    gene = "learning_rate"
    factors = (0.2, 5.0)

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__(weight)

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another learning rate; see `Mutation.mutate`."""
        rate = genome.learning_rate
        if rate is None:
            return None
        low, high = space.learning_rate
        bounds = np.clip([rate * factor for factor in self.factors], low, high)
        lowest, highest = np.log(bounds)
        drawn = np.exp(rng.uniform(lowest, highest))
        # Where the bounds are near, a drawn rate may be rounded to the current one.
        for value in (drawn, *bounds):
            bounded = space.bounded_rate(float(value))
            if bounded != rate:
                return genome.replace(learning_rate=bounded)
        return None


class WeightDecayMutation(Mutation):
    """Exchanges the weight decay of an optimizer that decays weights, such as AdamW."""

    gene = "weight_decay"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another weight decay; see `Mutation.mutate`."""
        values = space.weight_decay.get(genome.optimizer, ())
        value = draw_other(values, genome.weight_decay, rng)
        return None if value is None else genome.replace(weight_decay=value)


class BatchSizeMutation(Mutation):
    """Doubles or halves the batch size.

    Args:
        step: Samples to add or take away instead; the prototype of 2021 had 10.
        weight: See `Mutation`.
    """

    gene = "batch_size"

    def __init__(
        self,
        step: int | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        if step is not None and (not isinstance(step, int) or step < 1):
            raise ArgumentError(
                f"`step` must be an integer >= 1, or None to double and halve. "
                f"Received: step={step!r}. The prototype of 2021 had 10."
            )
        self.step = step

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with a larger or smaller batch size; see `Mutation.mutate`."""
        size = genome.batch_size
        if self.step is None:
            wanted = (size // 2, size * 2)
        else:
            wanted = (size - self.step, size + self.step)

        sizes = []
        low, high = space.batch_size
        for value in wanted:
            # Every device has a part of a batch.
            shared_out = value - value % space.batch_multiple
            bounded = min(max(shared_out, low), high)
            if bounded != size:
                sizes.append(bounded)
        drawn = draw_one(sizes, rng)
        return None if drawn is None else genome.replace(batch_size=drawn)
