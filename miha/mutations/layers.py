"""Mutations of what layers do: their activation, and the noise that they add in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from miha.mutations.base import Mutation, another
from miha.records import Genome
from miha.space import Space


class ActivationMutation(Mutation):
    """Exchanges the activation of one randomly chosen layer."""

    gene = "activation"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another activation in one slot; see `Mutation.mutate`."""
        now = dict(genome.activations)
        slots = [slot for slot, names in space.slots.items() if set(names) - {now[slot]}]
        if not slots:
            return None
        slot = slots[rng.integers(len(slots))]
        others = [name for name in space.slots[slot] if name != now[slot]]
        return genome.with_activation(slot, others[rng.integers(len(others))])


class DropoutMutation(Mutation):
    """Exchanges the rate of one randomly chosen Dropout layer."""

    gene = "dropout"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another rate in one layer; see `Mutation.mutate`."""
        drawn = _in_one_place(genome.dropout, space.dropout, rng)
        return None if drawn is None else genome.with_dropout(*drawn)


class NoiseMutation(Mutation):
    """Exchanges the standard deviation of one randomly chosen GaussianNoise layer."""

    gene = "noise"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another noise in one layer; see `Mutation.mutate`."""
        drawn = _in_one_place(genome.noise, space.noise, rng)
        return None if drawn is None else genome.with_noise(*drawn)


def _in_one_place(
    pairs: Sequence[tuple[str, Any]], space: Mapping[str, Sequence[Any]], rng: np.random.Generator
) -> tuple[str, Any] | None:
    """Draw a place that may hold something else, and what; None where there is none."""
    now = dict(pairs)
    places = [place for place, values in space.items() if set(values) - {now[place]}]
    if not places:
        return None
    place = places[rng.integers(len(places))]
    return place, another(space[place], now[place], rng)
