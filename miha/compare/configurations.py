"""The configurations that every strategy of a comparison chooses from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.errors import ArgumentError
from miha.records import Genome
from miha.space import SearchSpace

BATCH_SIZES = (8, 256)

DEFAULT_SPACE = SearchSpace(batch_size=BATCH_SIZES, learning_rate=(1e-4, 1e-1))
"""Narrower than what MIHA searches by default: samplers, which have no way back, gain by that."""

ACTIVATION = "activation of "
INPUT_NOISE = "input noise"
AUGMENTATION = "augmentation"

INPUT = "x"
"""What a genome calls the one array that a network takes."""


@dataclass(frozen=True)
class Regularisation:
    """What may act on inputs in training.

    Attributes:
        input_noise: Amounts, in standard deviations of each feature; empty: there is no use for it.
        augmentation: Shares of the images that are changed, likewise.
    """

    input_noise: tuple[float, ...] = ()
    augmentation: tuple[float, ...] = ()


@dataclass(frozen=True)
class ConfigurationSpace:
    """What a configuration may be: the same for every strategy of a comparison.

    Attributes:
        optimizers: Names of Keras optimizers.
        learning_rate: Smallest and largest; drawn on a logarithmic scale.
        batch_sizes: Those of the starts, and the powers of two between the smallest and the
            largest.
        activations: Names of elementwise activations, for each slot alike.
        slots: Names of the layers whose activation is chosen; empty where there is none.
        input_noise: Amounts of noise on the inputs, see `Regularisation`.
        augmentation: Shares of the images that are changed, likewise.
    """

    optimizers: tuple[str, ...]
    learning_rate: tuple[float, float]
    batch_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    slots: tuple[str, ...]
    input_noise: tuple[float, ...] = ()
    augmentation: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        starts: Iterable[Genome],
        regularisation: Regularisation = Regularisation(),
    ) -> ConfigurationSpace:
        """Return the space that a user names, widened so that it holds some starts.

        Raises:
            ArgumentError: A start has other slots than the rest, or no learning rate.
        """
        starts = list(starts)
        slots = _slots(space, starts)
        rates = list(space.learning_rate)
        optimizers = [name.lower() for name in space.optimizers]
        activations = [name.lower() for name in space.activations]
        sizes = list(space.batch_size or BATCH_SIZES)
        powers = [2**power for power in range(31)]
        for start in starts:
            rates.append(float(start.learning_rate or 0.0))
            optimizers.append(start.optimizer)
            activations += dict(start.activations).values()
            sizes.append(start.batch_size)
        batch_sizes = {size for size in powers if min(sizes) <= size <= max(sizes)}
        batch_sizes.update(start.batch_size for start in starts)
        return cls(
            optimizers=tuple(dict.fromkeys(optimizers)),
            learning_rate=(min(rates), max(rates)),
            # Bounds may have no power of two between them.
            batch_sizes=tuple(sorted(batch_sizes or sizes)),
            activations=tuple(dict.fromkeys(activations)),
            slots=slots,
            **vars(regularisation),
        )

    def draw(
        self,
        rng: np.random.Generator,
        alike: bool = False,
    ) -> Genome:
        """Draw a configuration: uniformly, the learning rate on a logarithmic scale.

        Args:
            rng: Where the numbers come from.
            alike: Whether all layers get the same activation, and inputs stay as they are, as
                people write networks.
        """
        # The order of the draws is part of every published cell.
        names = [rng.choice(self.activations) for _ in self.slots]
        if alike:
            names = names[:1] * len(names)
        optimizer = rng.choice(self.optimizers)
        low, high = np.log(self.learning_rate)
        rate = np.exp(rng.uniform(low, high))
        size = rng.choice(self.batch_sizes)
        values = {
            "optimizer": optimizer,
            "learning_rate": f"{rate:.4g}",
            "batch_size": size,
        }
        for slot, name in zip(self.slots, names, strict=True):
            values[ACTIVATION + slot] = name
        for name, choices in self._regularisation.items():
            values[name] = 0.0 if alike else rng.choice(choices)
        return self.genome(values)

    def genome(self, values: Mapping[str, Any]) -> Genome:
        """Return the genome of flat values, as libraries for tuning hold them."""
        names = [str(values[ACTIVATION + slot]) for slot in self.slots]
        return Genome(
            optimizer=str(values["optimizer"]),
            learning_rate=float(values["learning_rate"]),
            batch_size=int(values["batch_size"]),
            activations=tuple(zip(self.slots, names, strict=True)),
            input_noise=((INPUT, float(values[INPUT_NOISE])),) if self.input_noise else (),
            augmentation=float(values[AUGMENTATION]) if self.augmentation else None,
        )

    def values(self, genome: Genome) -> dict[str, Any]:
        """Return a genome as flat values: the reverse of `genome`."""
        found = {
            "optimizer": genome.optimizer,
            "learning_rate": genome.learning_rate,
            "batch_size": genome.batch_size,
        }
        for slot, name in genome.activations:
            found[ACTIVATION + slot] = name
        if self.input_noise:
            found[INPUT_NOISE] = noise_of(genome)
        if self.augmentation:
            found[AUGMENTATION] = genome.augmentation or 0.0
        return found

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What each flat value but the learning rate may be."""
        found: dict[str, tuple[Any, ...]] = {
            "optimizer": self.optimizers,
            "batch_size": self.batch_sizes,
        }
        for slot in self.slots:
            found[ACTIVATION + slot] = self.activations
        return found | self._regularisation

    @property
    def _regularisation(self) -> dict[str, tuple[Any, ...]]:
        choices = {INPUT_NOISE: self.input_noise, AUGMENTATION: self.augmentation}
        return {name: values for name, values in choices.items() if values}

    @property
    def search_space(self) -> SearchSpace:
        """The same for MIHA."""
        return SearchSpace(
            optimizers=self.optimizers,
            activations=self.activations,
            layers=self.slots or None,
            batch_size=(min(self.batch_sizes), max(self.batch_sizes)),
            learning_rate=self.learning_rate,
            input_noise=self.input_noise or (0.0,),
            augmentation="auto" if self.augmentation else (),
        )


def noise_of(genome: Genome) -> float:
    """Return the amount of noise on the one array that a network takes."""
    return dict(genome.input_noise).get(INPUT, 0.0)


def default_starts(space: SearchSpace | None) -> dict[str, Genome | None]:
    """Return a good start, a poor one and a random one; without layers, the last one alone."""
    if space is None or space.layers is None:
        return {"random": None}
    whole = ConfigurationSpace.of(space, [])
    return {
        "good": _nearest(whole, "adam", 0.001, 32, "relu"),
        "poor": _nearest(whole, "sgd", 0.01, 128, "sigmoid"),
        "random": None,
    }


def _nearest(
    space: ConfigurationSpace, optimizer: str, rate: float, size: int, activation: str
) -> Genome:
    """Return the configuration of a space that is nearest to another one."""
    if optimizer not in space.optimizers:
        optimizer = space.optimizers[0]
    if activation not in space.activations:
        activation = space.activations[0]
    low, high = space.learning_rate
    sizes = sorted(space.batch_sizes, key=lambda found: abs(found - size))
    return Genome(
        optimizer=optimizer,
        learning_rate=min(max(rate, low), high),
        batch_size=sizes[0],
        activations=tuple((slot, activation) for slot in space.slots),
    )


def _slots(
    space: SearchSpace,
    starts: list[Genome],
) -> tuple[str, ...]:
    """Return the slots that all starts name."""
    known = {tuple(dict(start.activations)) for start in starts}
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
    return known.pop()
