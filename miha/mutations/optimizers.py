"""Mutations of the optimizer and its settings."""

from __future__ import annotations

import numpy as np

from miha.mutations.base import Mutation, another
from miha.records import Genome
from miha.space import Space

STEP_IS_RATE = ("adam", "adamw", "nadam", "adamax", "rmsprop")
"""Optimizers whose steps are as long as their learning rate, whatever the gradient.

Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization" (2015), section 2.1.
"""


class OptimizerMutation(Mutation):
    """Exchanges the optimizer; the new one begins with its own default settings.

    Args:
        keep_step: Whether the learning rate stays among optimizers whose steps are as long as it,
            Adam and its like, instead of becoming the new one's default: so the step's size stays.
        weight: How often it is drawn, relative to the others; positive.
    """

    gene = "optimizer"

    def __init__(self, keep_step: bool = True, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.keep_step = keep_step

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another optimizer; see `Mutation.mutate`."""
        name = another(list(space.optimizers), genome.optimizer, rng)
        if name is None:
            return None
        child = space.with_optimizer(genome, name)
        is_kept = self.keep_step and {name, genome.optimizer} <= {*STEP_IS_RATE}
        return child.replace(learning_rate=genome.learning_rate) if is_kept else child


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

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another learning rate; see `Mutation.mutate`."""
        rate, (low, high) = genome.learning_rate, space.learning_rate
        if rate is None:
            return None
        bounds = np.clip([rate * factor for factor in self.factors], low, high)
        drawn = [np.exp(rng.uniform(*np.log(bounds))), *bounds]
        # Three digits: a table of learning rates shall be legible.
        rounded = [min(max(float(f"{value:.3g}"), low), high) for value in drawn]
        others = [value for value in rounded if value != rate]
        return genome.replace(learning_rate=others[0]) if others else None


class MomentumMutation(Mutation):
    """Exchanges the momentum of SGD and RMSprop, or the ``beta_1`` of Adam and its like."""

    gene = "momentum"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another momentum; see `Mutation.mutate`."""
        value = another(space.momentum.get(genome.optimizer, ()), genome.momentum, rng)
        return None if value is None else genome.replace(momentum=value)


class WeightDecayMutation(Mutation):
    """Exchanges the weight decay of an optimizer that decays weights, such as AdamW."""

    gene = "weight_decay"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another weight decay; see `Mutation.mutate`."""
        value = another(space.weight_decay.get(genome.optimizer, ()), genome.weight_decay, rng)
        return None if value is None else genome.replace(weight_decay=value)
