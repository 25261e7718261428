"""Mutations of what layers do: their activation, and the noise that they add in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from miha.mutations.base import Mutation, another
from miha.records import Genome
from miha.space import Space


class ActivationMutation(Mutation):
    """Exchanges the activation of one randomly chosen layer.

    Args:
        keep_function: Whether the exchange keeps the network's function as far as it can: the
            weights around make up for it, or the clone's first epoch blends both.
        weight: See `Mutation`; by default half of the others', since activations have two.
    """

    gene = "activation"

    def __init__(self, keep_function: bool = True, weight: float = 0.5) -> None:
        super().__init__(weight)
        self.transition = "keep_function" if keep_function else "inherit"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another activation in one slot; see `Mutation.mutate`."""
        now = dict(genome.activations)
        slots = [slot for slot, names in space.slots.items() if set(names) - {now[slot]}]
        if not slots:
            return None
        slot = slots[rng.integers(len(slots))]
        others = [name for name in space.slots[slot] if name != now[slot]]
        return genome.with_activation(slot, others[rng.integers(len(others))])


class ActivationsMutation(ActivationMutation):
    """Gives all layers the same activation, those that cannot hold it aside."""

    gene = "activations"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another activation in several slots; see `Mutation.mutate`."""
        names = list(dict.fromkeys(name for names in space.slots.values() for name in names))
        children = [with_activations(genome, space, name) for name in names]
        others = [child for child in children if child != genome]
        return others[rng.integers(len(others))] if others and len(space.slots) > 1 else None


def with_activations(genome: Genome, space: Space, name: str) -> Genome:
    """Return a genome whose slots hold one activation, those that cannot aside."""
    pairs = ((s, name if name in space.slots[s] else a) for s, a in genome.activations)
    return genome.replace(activations=tuple(pairs))


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
