"""The configurations that every strategy of a comparison chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.errors import ArgumentError
from miha.records import Genome
from miha.space import SearchSpace

DEFAULT_SPACE = SearchSpace(batch_size=(8, 256), learning_rate=(1e-4, 1e-1))
"""Narrower than what MIHA searches by default: samplers, which have no way back, gain by that."""

ACTIVATION = "activation of "


@dataclass(frozen=True)
class ConfigurationSpace:
    """What a configuration may be: the same for every strategy of a comparison.

    Attributes:
        optimizers: Names of Keras optimizers.
        learning_rate: Smallest and largest; drawn on a logarithmic scale.
        batch_sizes: The powers of two between two bounds, widened such that they hold those of
            the starts, and these.
        activations: Names of elementwise activations, for each slot alike.
        slots: Names of the layers whose activation is chosen; empty where there is none.
    """

    optimizers: tuple[str, ...]
    learning_rate: tuple[float, float]
    batch_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    slots: tuple[str, ...]

    @classmethod
    def of(cls, space: SearchSpace, starts: Iterable[Genome]) -> ConfigurationSpace:
        """Return the space that a user names, widened such that it holds some starts.

        Raises:
            ArgumentError: A start has other slots than the rest, or no learning rate.
        """
        starts = list(starts)
        slots = _slots(space, starts)
        rates = [float(start.learning_rate or 0.0) for start in starts]
        low, high = space.learning_rate
        return cls(
            optimizers=_joined(space.optimizers, [start.optimizer for start in starts]),
            learning_rate=(min([low, *rates]), max([high, *rates])),
            batch_sizes=_batch_sizes(space.batch_size, [start.batch_size for start in starts]),
            activations=_joined(
                space.activations, [name for start in starts for _, name in start.activations]
            ),
            slots=slots,
        )

    def draw(self, rng: np.random.Generator, alike: bool = False) -> Genome:
        """Draw a configuration: uniformly, the learning rate on a logarithmic scale.

        Args:
            rng: Where the numbers come from.
            alike: Whether all layers get the same activation, as people write networks.
        """
        low, high = np.log(self.learning_rate)
        names = [str(rng.choice(self.activations)) for _ in self.slots]
        names = names[:1] * len(names) if alike else names
        return Genome(
            optimizer=str(rng.choice(self.optimizers)),
            learning_rate=float(f"{np.exp(rng.uniform(low, high)):.4g}"),
            batch_size=int(rng.choice(self.batch_sizes)),
            activations=tuple(zip(self.slots, names, strict=True)),
        )

    def genome(self, values: Mapping[str, Any]) -> Genome:
        """Return the genome of flat values, as libraries for tuning hold them."""
        return Genome(
            optimizer=str(values["optimizer"]),
            learning_rate=float(values["learning_rate"]),
            batch_size=int(values["batch_size"]),
            activations=tuple((slot, str(values[ACTIVATION + slot])) for slot in self.slots),
        )

    def values(self, genome: Genome) -> dict[str, Any]:
        """Return a genome as flat values: the reverse of `genome`."""
        return {
            "optimizer": genome.optimizer,
            "learning_rate": genome.learning_rate,
            "batch_size": genome.batch_size,
        } | {ACTIVATION + slot: name for slot, name in genome.activations}

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What each flat value but the learning rate may be."""
        return {"optimizer": self.optimizers, "batch_size": self.batch_sizes} | {
            ACTIVATION + slot: self.activations for slot in self.slots
        }

    @property
    def search_space(self) -> SearchSpace:
        """The same for MIHA."""
        return SearchSpace(
            optimizers=self.optimizers,
            activations=self.activations,
            layers=self.slots or None,
            batch_size=(min(self.batch_sizes), max(self.batch_sizes)),
            learning_rate=self.learning_rate,
        )


def default_starts(space: SearchSpace | None) -> dict[str, Genome | None]:
    """Return a good start, a poor one and a random one; without layers, the last one alone."""
    if space is None or space.layers is None:
        return {"random": None}
    whole = ConfigurationSpace.of(space, [])
    good, poor = ("adam", 0.001, 32, "relu"), ("sgd", 0.01, 128, "sigmoid")
    return {"good": _nearest(whole, *good), "poor": _nearest(whole, *poor), "random": None}


def _nearest(
    space: ConfigurationSpace, optimizer: str, rate: float, size: int, activation: str
) -> Genome:
    """Return what a space holds that is as near as may be to a configuration."""
    low, high = space.learning_rate
    names, others = space.optimizers, space.activations
    activation = activation if activation in others else others[0]
    return Genome(
        optimizer=optimizer if optimizer in names else names[0],
        learning_rate=min(max(rate, low), high),
        batch_size=min(space.batch_sizes, key=lambda found: abs(found - size)),
        activations=tuple((slot, activation) for slot in space.slots),
    )


def _slots(space: SearchSpace, starts: list[Genome]) -> tuple[str, ...]:
    """Return the slots that all starts name."""
    known = {tuple(slot for slot, _ in start.activations) for start in starts}
    if space.layers is not None:
        known.add(tuple(space.layers))
    if len(known) != 1:
        raise ArgumentError(
            "All starts, and `space.layers` where it is given, must name the same layers in the "
            f"same order. Received: {sorted(known)}. Give one start, such as "
            "Genome('adam', 0.001, 32, (('hidden', 'relu'),)), or space=SearchSpace(layers=[...])."
        )
    for start in starts:
        if start.learning_rate is None:
            raise ArgumentError(
                f"A start must have a learning rate. Received: {start}. Give one, such as 0.001."
            )
    return next(iter(known))


def _joined(names: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*map(str.lower, names), *more]))


def _batch_sizes(bounds: tuple[int, int] | None, more: list[int]) -> tuple[int, ...]:
    low, high = bounds or DEFAULT_SPACE.batch_size or (8, 256)
    low, high = min([low, *more]), max([high, *more])
    powers = [2**power for power in range(31) if low <= 2**power <= high]
    return tuple(sorted({*powers, *more} or {low, high}))
