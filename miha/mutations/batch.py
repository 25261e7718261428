"""The mutation of the batch size."""

from __future__ import annotations

import numpy as np

from miha.errors import ArgumentError
from miha.mutations.base import Mutation
from miha.records import Genome
from miha.space import Space


class BatchSizeMutation(Mutation):
    """Doubles or halves the batch size.

    Args:
        step: Samples to add or take away instead; the prototype of 2021 had 10.
        weight: See `Mutation`.
    """

    gene = "batch_size"

    def __init__(self, step: int | None = None, weight: float = 1.0) -> None:
        super().__init__(weight)
        if step is not None and (not isinstance(step, int) or step < 1):
            raise ArgumentError(
                f"`step` must be an integer >= 1, or None to double and halve. "
                f"Received: step={step!r}. The prototype of 2021 had 10."
            )
        self.step = step

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with a larger or smaller batch size; see `Mutation.mutate`."""
        size, (low, high) = genome.batch_size, space.batch_size
        steps = (size - self.step, size + self.step) if self.step else (size // 2, size * 2)
        even = [step - step % space.batch_multiple for step in steps]
        others = [s for s in (min(max(s, low), high) for s in even) if s != size]
        return genome.replace(batch_size=others[rng.integers(len(others))]) if others else None
