"""Layers that add noise in training, and how the noise is chosen at run time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras

from miha.trainer.genes.activations import unique, walk
from miha.trainer.genes.switches import Choice
from miha.trainer.network import copies

KINDS = {
    keras.layers.Dropout: "rate",
    keras.layers.SpatialDropout1D: "rate",
    keras.layers.SpatialDropout2D: "rate",
    keras.layers.SpatialDropout3D: "rate",
    keras.layers.AlphaDropout: "rate",
    keras.layers.GaussianDropout: "rate",
    keras.layers.GaussianNoise: "stddev",
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
    layer: keras.layers.Layer

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
        """Give the layer the seed that Keras makes where there is noise only."""
        if hasattr(self.layer, "seed_generator"):
            return
        self.layer._tracker.unlock()
        with copies.random_state():
            self.layer.seed_generator = keras.random.SeedGenerator(self.layer.seed)
        self.layer._tracker.lock()

    def install(self, amounts: Sequence[float]) -> Choice:
        """Let the layer's noise be chosen at run time, from these amounts."""
        choice = Choice(amounts)
        vars(self.layer)["call"] = partial(self._call, choice)
        return choice

    def _call(self, choice: Choice, inputs: Any, training: bool | None = False) -> Any:
        if not training:
            return inputs
        seed = self.layer.seed_generator
        if keras.backend.backend() != "torch":
            # Drawn once, here: where a choice is compiled, a branch must not change variables.
            seed = _Drawn(seed)
        branches = [partial(self._call_with, amount, seed) for amount in choice.options]
        return keras.ops.switch(choice.index, branches, inputs)

    def _call_with(self, amount: float, seed: Any, inputs: Any) -> Any:
        """Call Keras' own layer, as it is with another amount."""
        with _having(self.layer, {self.attribute: amount, "seed_generator": seed}):
            return type(self.layer).call(self.layer, inputs, training=True)


class _Drawn(keras.random.SeedGenerator):  # type: ignore[misc]
    """A seed that is drawn already.

    Args:
        generator: What draws it.
    """

    def __init__(self, generator: keras.random.SeedGenerator) -> None:
        # Without the state that a generator has.
        self._seed = generator.next()

    def next(self, ordered: bool = True) -> Any:
        """Return the seed."""
        return self._seed


def find_noise(model: keras.Model) -> list[Noise]:
    """Find every layer of a network that adds noise, in its order; not those in a recurrent loop.

    Args:
        model: A built network.

    Returns:
        Places with names that are unique in the network.
    """
    found: dict[str, Noise] = {}
    for path, layer, is_recurrent in walk(model):
        if type(layer) in KINDS and not is_recurrent:
            name = unique(path, found)
            found[name] = Noise(name, layer)
    return list(found.values())


def choose_noise(plain: keras.Model, known: dict[str, Any]) -> dict[int, str]:
    """Choose the layers whose noise may mutate: those whose amount an archive holds.

    Args:
        plain: A copy of the user's network.
        known: The network's custom objects.

    Returns:
        Place of each among all that add noise, and its name.
    """
    found = find_noise(plain)
    marks = [_MARK + i / 10_000 for i in range(len(found))]
    told = _rebuilt(plain, known, marks)
    if told == marks:
        return {i: noise.name for i, noise in enumerate(found)}
    # An attention layer has one, say, that goes by the attention's configuration.
    return {
        i: noise.name
        for i, noise in enumerate(found)
        if _rebuilt(plain, known, _changed(marks, i)) == _changed(told, i)
    }


def noise_in(network: keras.Model, chosen: dict[int, str]) -> list[Noise]:
    """Return the chosen places of a copy of the network, ready to hold any amount."""
    found = find_noise(network)
    places = [replace(found[i], name=name) for i, name in chosen.items()]
    for noise in places:
        noise.make_seed()
    return places


def _rebuilt(plain: keras.Model, known: dict[str, Any], amounts: list[float]) -> list[float]:
    """Return the amounts of a network rebuilt from one that has been given others."""
    found = find_noise(plain)
    own = [noise.amount for noise in found]
    for noise, amount in zip(found, amounts, strict=True):
        noise.put(amount)
    twin = copies.reload(plain, known)
    for noise, amount in zip(found, own, strict=True):
        noise.put(amount)
    return [noise.amount for noise in find_noise(twin)]


def _changed(amounts: list[float], place: int) -> list[float]:
    return [2 * _MARK if i == place else amount for i, amount in enumerate(amounts)]


@contextlib.contextmanager
def _having(layer: keras.layers.Layer, attributes: dict[str, Any]) -> Iterator[None]:
    """Let a layer have other attributes, of which Keras takes no notice."""
    held = vars(layer)
    before = {name: held[name] for name in attributes}
    held.update(attributes)
    try:
        yield
    finally:
        held.update(before)


_MARK = 0.0123
"""An amount that nobody gives a layer."""
