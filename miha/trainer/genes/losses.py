"""The loss of a network with one, and how it is chosen at run time among those of its family."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import Model

from miha.errors import ArgumentError
from miha.records import Genome
from miha.space import SearchSpace, values_of
from miha.trainer.genes.switches import Switch
from miha.trainer.network.custom_layers import is_custom
from miha.trainer.network.keras_internals import (
    loss_settings,
    replace_single_loss,
    single_loss,
)

Variant = tuple[str, float]
"""Keras' name of a loss, and its label smoothing."""

CLASSES: dict[str, type[keras.losses.Loss]] = {
    "mean_squared_error": keras.losses.MeanSquaredError,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
    "log_cosh": keras.losses.LogCosh,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "binary_focal_crossentropy": keras.losses.BinaryFocalCrossentropy,
}

FAMILIES = (
    ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"),
    ("categorical_crossentropy", "categorical_focal_crossentropy"),
    ("binary_crossentropy", "binary_focal_crossentropy"),
)
"""Losses that take the same targets and predictions. Keras has no focal one of sparse labels."""

CARRIED = ("from_logits", "axis")
"""What a user sets beside the class: every other loss of the family gets it too."""


@dataclass(frozen=True)
class LossSlot:
    """The one loss of a network.

    Attributes:
        network: The network, which has taken a step.
        own: Its loss, as Keras has made it.
        name: Keras' name of it.
    """

    network: Model
    own: Any
    name: str

    @property
    def family(self) -> tuple[str, ...]:
        """Names of the losses that it may become, its own among them."""
        return next(family for family in FAMILIES if self.name in family)

    @property
    def label_smoothing(self) -> float | None:
        """Its label smoothing; None where it has none."""
        if "label_smoothing" not in _arguments(self.name):
            return None
        return float(loss_settings(self.own).get("label_smoothing", 0.0))

    @property
    def variant(self) -> Variant:
        """The user's own."""
        return self.name, self.label_smoothing or 0.0

    def variant_of(self, genome: Genome) -> Variant:
        """Return the loss of a genome; what it leaves open is the user's own."""
        own_name, own_smoothing = self.variant
        name = genome.loss or own_name
        smoothing = genome.label_smoothing
        return name, own_smoothing if smoothing is None else smoothing

    def changed(self, genome: Genome) -> Any:
        """Return the loss of a genome; None where it is the user's own."""
        variant = self.variant_of(genome)
        return None if variant == self.variant else self.make(variant)

    def make(self, variant: Variant) -> Any:
        """Return a loss of the family; the user's own where that is asked for."""
        if variant == self.variant:
            return self.own

        name, smoothing = variant
        # Another class gets only what means the same there: Huber's delta, say, does not.
        settings = loss_settings(self.own)
        settings["reduction"] = self.own.reduction
        settings["label_smoothing"] = smoothing

        accepted = set(_arguments(name))
        if name != self.name:
            accepted &= {*CARRIED, "reduction", "label_smoothing"}
        kept = {key: settings[key] for key in settings if key in accepted}
        return CLASSES[name](**kept)

    def install(self, variants: Sequence[Variant]) -> LossSwitch:
        """Let the loss be chosen at run time, from these; the own one is the first."""
        losses = {variant: self.make(variant) for variant in variants}
        switch = LossSwitch(losses)
        replace_single_loss(self.network, switch)
        return switch


def _arguments(name: str) -> Mapping[str, Any]:
    """Return the arguments of a loss class by name."""
    return inspect.signature(CLASSES[name]).parameters


class LossSwitch(Switch):
    """A loss chosen at run time, in the compiled graph.

    Args:
        losses: The losses to choose from; the network's own first.
    """

    def __init__(self, losses: dict[Variant, Any]) -> None:
        super().__init__(list(losses))
        self._losses = list(losses.values())
        self.name = self._losses[0].name

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the value of the chosen loss."""

        # Not as operands of the switch: Keras knows the logits of these very predictions.
        def calls(loss: Any) -> Callable[[], Any]:
            return lambda: loss(y_true, y_pred, sample_weight)

        branches = [calls(loss) for loss in self._losses]
        return keras.ops.switch(self.index, branches)

    @contextmanager
    def own(self) -> Iterator[None]:
        """Choose the network's own loss for a while: all clones are compared by it."""
        chosen = self.chosen
        self.choose(self.options[0])
        try:
            yield
        finally:
            self.choose(chosen)


def find_loss(network: Model) -> LossSlot | None:
    """Return the loss of a network that has taken a step, if it may mutate.

    It may not where there are several, nor where it is the user's own or of no family.
    """
    own = single_loss(network)
    function = getattr(own, "fn", None)
    if function is None or is_custom(type(own)) or is_custom(function):
        return None

    name = getattr(function, "__name__", "")
    is_known = any(name in family for family in FAMILIES)
    return LossSlot(network, own, name) if is_known else None


def losses_for(slot: LossSlot | None, space: SearchSpace) -> tuple[str, ...]:
    """Return the names that a loss may have, the network's own first.

    Raises:
        ArgumentError: One is asked for that is not of its family.
    """
    if slot is None:
        return ()

    wanted = slot.family
    if space.losses is not None:
        wanted = tuple(_known_name(name) for name in space.losses)

    strange = [name for name in wanted if name not in slot.family]
    if strange:
        raise ArgumentError(
            f"`losses` must be of the family of the network's own, {list(slot.family)}. "
            f"Received: {strange}. Leave the others out, or compile with a loss of theirs."
        )
    return tuple(dict.fromkeys([slot.name, *wanted]))


def smoothings_for(slot: LossSlot | None, space: SearchSpace) -> tuple[float, ...]:
    """Return the values that the label smoothing may have, the network's own first."""
    if slot is None or slot.label_smoothing is None:
        return ()
    return values_of(slot.label_smoothing, space.label_smoothing)


def _known_name(name: str) -> str:
    """Return the name of the function that Keras finds under a name or a short form of it."""
    try:
        found = keras.losses.get(name)
    except ValueError:
        return name
    return str(getattr(found, "fn", found).__name__)
