"""Mutations of what the layers do, and of the loss that they are trained by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.random import Generator

from miha.mutations.base import Mutation, draw_one, draw_other
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

    def __init__(
        self,
        keep_function: bool = True,
        weight: float = 0.5,
    ) -> None:
        super().__init__(weight)
        self.transition = "keep_function" if keep_function else "inherit"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another activation in one slot; see `Mutation.mutate`."""
        drawn = _draw_in_one_place(genome.activations, space.slots, rng)
        return None if drawn is None else genome.with_activation(*drawn)


class ActivationsMutation(ActivationMutation):
    """Gives all layers the same activation, those that cannot hold it aside."""

    gene = "activations"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another activation in several slots; see `Mutation.mutate`."""
        if len(space.slots) < 2:
            return None
        # Each name once, in the order of the slots: what is drawn depends on the order.
        names = dict.fromkeys(name for slot in space.slots.values() for name in slot)
        children = [with_activations(genome, space, name) for name in names]
        return draw_other(children, genome, rng)  # type: ignore[no-any-return]


def with_activations(
    genome: Genome,
    space: Space,
    name: str,
) -> Genome:
    """Return a genome whose slots hold one activation, those that cannot aside."""
    pairs = []
    for slot, current in genome.activations:
        may_hold = name in space.slots[slot]
        pairs.append((slot, name if may_hold else current))
    return genome.replace(activations=tuple(pairs))


class DropoutMutation(Mutation):
    """Exchanges the rate of one randomly chosen Dropout layer."""

    gene = "dropout"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another rate in one layer; see `Mutation.mutate`."""
        drawn = _draw_in_one_place(genome.dropout, space.dropout, rng)
        return None if drawn is None else genome.with_dropout(*drawn)


class NoiseMutation(Mutation):
    """Exchanges the standard deviation of one randomly chosen GaussianNoise layer."""

    gene = "noise"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another noise in one layer; see `Mutation.mutate`."""
        drawn = _draw_in_one_place(genome.noise, space.noise, rng)
        return None if drawn is None else genome.with_noise(*drawn)


class LabelSmoothingMutation(Mutation):
    """Exchanges the label smoothing of the loss.

    Clones are compared by the network's own loss all the same.
    """

    gene = "label_smoothing"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another label smoothing; see `Mutation.mutate`."""
        value = draw_other(space.label_smoothing, genome.label_smoothing, rng)
        return None if value is None else genome.replace(label_smoothing=value)


class InputNoiseMutation(Mutation):
    """Exchanges the noise on one randomly chosen input."""

    gene = "input_noise"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another noise on one input; see `Mutation.mutate`."""
        drawn = _draw_in_one_place(genome.input_noise, space.input_noise, rng)
        return None if drawn is None else genome.with_input_noise(*drawn)


class AugmentationMutation(Mutation):
    """Exchanges the share of samples that are augmented."""

    gene = "augmentation"

    def mutate(
        self,
        genome: Genome,
        space: Space,
        rng: Generator,
    ) -> Genome | None:
        """Return a genome with another share; see `Mutation.mutate`."""
        value = draw_other(space.augmentation, genome.augmentation, rng)
        return None if value is None else genome.replace(augmentation=value)


def _draw_in_one_place(
    pairs: Sequence[tuple[str, Any]],
    space: Mapping[str, Sequence[Any]],
    rng: Generator,
) -> tuple[str, Any] | None:
    """Draw a place that may hold something else, and what; None where there is none."""
    current = dict(pairs)
    # A place that may hold nothing else is never drawn.
    places = []
    for place, values in space.items():
        has_others = any(value != current[place] for value in values)
        if has_others:
            places.append(place)
    place = draw_one(places, rng)
    if place is None:
        return None
    return place, draw_other(space[place], current[place], rng)
