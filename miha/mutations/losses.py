"""Mutations of the loss that is trained; clones are compared by the network's own all the same."""

from __future__ import annotations

import numpy as np

from miha.mutations.base import Mutation, another
from miha.records import Genome
from miha.space import Space


class LossMutation(Mutation):
    """Exchanges the loss for another one of its family."""

    gene = "loss"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another loss; see `Mutation.mutate`."""
        name = another(space.losses, genome.loss, rng)
        return None if name is None else genome.replace(loss=name)


class LabelSmoothingMutation(Mutation):
    """Exchanges the label smoothing of the loss."""

    gene = "label_smoothing"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another label smoothing; see `Mutation.mutate`."""
        value = another(space.label_smoothing, genome.label_smoothing, rng)
        return None if value is None else genome.replace(label_smoothing=value)
