"""The loss of a network with one, and how it is chosen at run time among those of its family."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from miha.errors import ArgumentError
from miha.records import Genome
from miha.space import SearchSpace, values_of
from miha.trainer.genes.switches import Choice
from miha.trainer.network.custom_layers import is_custom

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

    network: keras.Model
    own: Any
    name: str

    @property
    def family(self) -> tuple[str, ...]:
        """Names of the losses that it may become, its own among them."""
        return next(family for family in FAMILIES if self.name in family)

    @property
    def label_smoothing(self) -> float | None:
        """Its label smoothing; None where it has none."""
        has_one = "label_smoothing" in inspect.signature(CLASSES[self.name]).parameters
        return float(self.own._fn_kwargs.get("label_smoothing", 0.0)) if has_one else None

    @property
    def variant(self) -> Variant:
        """The user's own."""
        return self.name, self.label_smoothing or 0.0

    def variant_of(self, genome: Genome) -> Variant:
        """Return the loss of a genome; what it does not tell is the user's own."""
        name, smoothing = self.variant
        told = genome.label_smoothing
        return genome.loss or name, smoothing if told is None else told

    def changed(self, genome: Genome) -> Any:
        """Return the loss of a genome; None where it is the user's own."""
        variant = self.variant_of(genome)
        return None if variant == self.variant else self.make(variant)

    def make(self, variant: Variant) -> Any:
        """Return a loss of the family; the user's own where that is asked for."""
        if variant == self.variant:
            return self.own
        name, smoothing = variant
        settings = {
            k: v for k, v in self.own._fn_kwargs.items() if k in CARRIED or name == self.name
        }
        settings |= {"reduction": self.own.reduction, "label_smoothing": smoothing}
        accepted = inspect.signature(CLASSES[name]).parameters
        return CLASSES[name](**{k: v for k, v in settings.items() if k in accepted})

    def install(self, variants: Sequence[Variant]) -> LossSwitch:
        """Let the loss be chosen at run time, from these; the own one is the first."""
        switch = LossSwitch({variant: self.make(variant) for variant in variants})
        losses = self.network._compile_loss._flat_losses
        losses[0] = losses[0]._replace(loss=switch)
        return switch


class LossSwitch(Choice):
    """A loss chosen at run time, in the compiled graph.

    Args:
        losses: The losses to choose from; the network's own first.
    """

    def __init__(self, losses: dict[Variant, Any]) -> None:
        super().__init__(list(losses))
        self._losses = list(losses.values())
        self.name = self._losses[0].name

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the chosen loss."""
        # Not as operands: what Keras knows of predictions (their logits) stays with them.
        branches = [lambda loss=loss: loss(y_true, y_pred, sample_weight) for loss in self._losses]
        return keras.ops.switch(self.index, branches)

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within it, the loss is the network's own: clones are compared on one ruler."""
        chosen = self.chosen
        self.choose(self.options[0])
        try:
            yield
        finally:
            self.choose(chosen)


def find_loss(network: keras.Model) -> LossSlot | None:
    """Return the loss of a network that has taken a step, if there is one that may mutate.

    Args:
        network: A compiled network.

    Returns:
        None where there are several, or one that is not Keras' own or of no family.
    """
    compiled = getattr(network, "_compile_loss", None)
    if compiled is None or not compiled.built or keras.tree.is_nested(compiled._user_loss):
        return None
    flat = compiled._flat_losses
    own = flat[0].loss if len(flat) == 1 else None
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
    wished = slot.family if space.losses is None else tuple(map(_known_name, space.losses))
    strange = [name for name in wished if name not in slot.family]
    if strange:
        raise ArgumentError(
            f"`losses` must be of the family of the network's own, {list(slot.family)}. "
            f"Received: {strange}. Leave the others out, or compile with a loss of theirs."
        )
    return tuple(dict.fromkeys([slot.name, *wished]))


def smoothings_for(slot: LossSlot | None, space: SearchSpace) -> tuple[float, ...]:
    """Return the values that the label smoothing may have, the network's own first."""
    if slot is None or slot.label_smoothing is None:
        return ()
    return values_of(slot.label_smoothing, space.label_smoothing)


def _known_name(name: str) -> str:
    try:
        found = keras.losses.get(name)
    except ValueError:
        return name
    return str(getattr(found, "fn", found).__name__)
