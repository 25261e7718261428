"""Layers that add noise in training, and how the noise is chosen at run time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
from keras import Model, layers

from miha.trainer.genes.switches import Switch
from miha.trainer.network.copies import random_state
from miha.trainer.network.keras_internals import unlocked
from miha.trainer.network.layer_tree import Chosen, Place, unique, walk

KINDS = {
    layers.Dropout: "rate",
    layers.SpatialDropout1D: "rate",
    layers.SpatialDropout2D: "rate",
    layers.SpatialDropout3D: "rate",
    layers.AlphaDropout: "rate",
    layers.GaussianDropout: "rate",
    layers.GaussianNoise: "stddev",
}
"""Layers that draw one random number for each value, and the attribute that says how much."""


@dataclass(frozen=True)
class Noise:
    """A place in one network that adds noise in training.

    Attributes:
        name: Path of the layer in the network.
        layer: The layer.
    """

    name: str
    layer: layers.Layer

    @property
    def attribute(self) -> str:
        """Name of the layer's attribute that says how much: ``"rate"`` or ``"stddev"``."""
        return KINDS[type(self.layer)]

    @property
    def gene(self) -> str:
        """Name of the gene that it belongs to."""
        return "dropout" if self.attribute == "rate" else "noise"

    @property
    def amount(self) -> float:
        """How much noise the layer adds by its configuration."""
        return float(getattr(self.layer, self.attribute))

    def put(self, amount: float) -> None:
        """Let the layer add so much noise, in its configuration too."""
        vars(self.layer)[self.attribute] = amount

    def make_seed(self) -> None:
        """Give the layer the seed that Keras makes only where there is noise."""
        if hasattr(self.layer, "seed_generator"):
            return
        with unlocked(self.layer), random_state():
            self.layer.seed_generator = keras.random.SeedGenerator(self.layer.seed)

    def install(self, amounts: Sequence[float]) -> Switch:
        """Let the layer's noise be chosen at run time, from these amounts."""
        switch = Switch(amounts)
        vars(self.layer)["call"] = partial(self._call, switch)
        return switch

    def _call(
        self,
        switch: Switch,
        inputs: Any,
        training: bool | None = False,
    ) -> Any:
        # Without noise, as Keras' own layers: inference computes the same for all options.
        if not training:
            return inputs

        seed = self.layer.seed_generator
        if keras.backend.backend() != "torch":
            # Drawn once, here: a branch of a compiled choice must not change variables.
            seed = _DrawnSeed(seed)

        amounts = switch.options
        branches = [partial(self._call_with, amount, seed) for amount in amounts]
        index = keras.ops.convert_to_tensor(switch.index)
        return keras.ops.switch(index, branches, inputs)

    def _call_with(
        self,
        amount: float,
        seed: Any,
        inputs: Any,
    ) -> Any:
        """Call Keras' own layer, as it is with another amount."""
        changed = {self.attribute: amount, "seed_generator": seed}
        with changed_attributes(self.layer, changed):
            call = type(self.layer).call
            return call(self.layer, inputs, training=True)


class _DrawnSeed(keras.random.SeedGenerator):  # type: ignore[misc]
    """A seed that is drawn already, without the state that a generator has."""

    def __init__(
        self,
        generator: keras.random.SeedGenerator,
    ) -> None:
        self._seed = generator.next()

    def next(self, ordered: bool = True) -> Any:
        """Return the seed."""
        return self._seed


@contextlib.contextmanager
def changed_attributes(
    layer: Any,
    attributes: dict[str, Any],
) -> Iterator[None]:
    """Change attributes of a layer for a while, past Keras' tracking."""
    present = vars(layer)
    before = {name: present[name] for name in attributes}
    present.update(attributes)
    try:
        yield
    finally:
        present.update(before)


def find_noise(model: Model) -> list[Noise]:
    """Find every layer of a built network that adds noise, but for those in a recurrent loop."""
    return noise_among(walk(model))


def noise_among(
    places: Iterable[Place],
) -> list[Noise]:
    """Return those of a network's layers that add noise."""
    found: dict[str, Noise] = {}
    for place in places:
        if type(place.layer) in KINDS and not place.is_recurrent:
            name = unique(place.path, found)
            found[name] = Noise(name, place.layer)
    return list(found.values())


def noise_in(
    network: Model,
    chosen: Chosen,
) -> list[Noise]:
    """Return the chosen noise of a copy of the network, ready to take any amount."""
    return noise_at(find_noise(network), chosen)


def noise_at(
    found: Sequence[Noise],
    chosen: Chosen,
) -> list[Noise]:
    """Return some of all noise, by its place and under a given name, ready to take any amount."""
    places = []
    for place, name in chosen.items():
        noise = replace(found[place], name=name)
        noise.make_seed()
        places.append(noise)
    return places
