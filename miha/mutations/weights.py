"""A mutation of the weights themselves."""

from __future__ import annotations

import numpy as np

from miha.mutations.base import Mutation
from miha.records import Genome, Transition
from miha.space import Space


class PerturbMutation(Mutation):
    """Shrinks the weights by half and adds a tenth of fresh ones: a restart's milder form.

    Source: J. Ash and R. Adams, "On Warm-Starting Neural Network Training" (2020), which call it
    shrink and perturb.
    """

    gene = "perturb"
    transition: Transition = "perturb"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return the genome as it is; see `Mutation.mutate`."""
        return genome
