"""The loss of a network with one, and how its label smoothing is chosen at run time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import Model, ops

from miha.trainer.genes.switches import SwitchedNumber
from miha.trainer.network.custom_layers import is_custom
from miha.trainer.network.keras_internals import (
    loss_settings,
    replace_single_loss,
    single_loss,
)

CLASSES: dict[str, type[keras.losses.Loss]] = {
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "binary_focal_crossentropy": keras.losses.BinaryFocalCrossentropy,
}
"""Losses with label smoothing, by the name of their function."""

SPARSE = "sparse_categorical_crossentropy"
"""That of sparse labels has none in Keras: its labels are written as one-hot vectors first."""


@dataclass(frozen=True)
class LossSlot:
    """The one loss of a network, which has label smoothing.

    Attributes:
        network: The network, which has taken a step.
        own: Its loss, as Keras has made it.
        name: Keras' name of it.
    """

    network: Model
    own: Any
    name: str

    @property
    def label_smoothing(self) -> float:
        """The user's own."""
        return float(loss_settings(self.own).get("label_smoothing", 0.0))

    @property
    def plain(self) -> Any:
        """The loss without label smoothing, of labels that are no integers."""
        settings = loss_settings(self.own)
        settings["reduction"] = self.own.reduction
        if self.name == SPARSE:
            return keras.losses.CategoricalCrossentropy(
                from_logits=settings.get("from_logits", False),
                reduction=self.own.reduction,
            )
        settings["label_smoothing"] = 0.0
        return CLASSES[self.name](**settings)

    def install(
        self,
        smoothings: Sequence[float],
        number: type[SwitchedNumber] | None,
    ) -> LossSwitch:
        """Let the label smoothing be chosen at run time, from these; the own one is the first.

        Args:
            smoothings: The values.
            number: What a number that is chosen at run time is made of.
        """
        switch = LossSwitch(self, (number or SwitchedNumber)(smoothings))
        replace_single_loss(self.network, switch)
        return switch


class LossSwitch:
    """A loss whose label smoothing is chosen at run time, in the compiled graph.

    Args:
        slot: The loss.
        number: The values to choose from; the network's own first.
    """

    def __init__(
        self,
        slot: LossSlot,
        number: SwitchedNumber,
    ) -> None:
        self.number = number
        self.name = slot.own.name
        self._own = slot.own
        self._plain = slot.plain
        self._is_sparse = slot.name == SPARSE
        self._is_binary = slot.name.startswith("binary")

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
    ) -> Any:
        """Return the value of the loss with the chosen label smoothing."""

        # Not as operands of the choice: Keras knows the logits of these very predictions.
        def own() -> Any:
            return self._own(y_true, y_pred, sample_weight)

        def smoothed() -> Any:
            return self._plain(self._smoothed(y_true, y_pred), y_pred, sample_weight)

        return ops.cond(self.number.index > 0, smoothed, own)

    def _smoothed(self, y_true: Any, y_pred: Any) -> Any:
        """Return labels that say less: a share of each goes to all classes alike.

        Source: C. Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7.
        """
        classes = y_pred.shape[-1]
        if self._is_sparse:
            if len(y_true.shape) == len(y_pred.shape):
                y_true = ops.squeeze(y_true, -1)
            y_true = ops.one_hot(ops.cast(y_true, "int32"), classes)
        # Not in the type of the predictions: Keras takes a loss in whole precision.
        dtype = keras.config.floatx()
        share = ops.cast(self.number.look_up(), dtype)
        parts = 2 if self._is_binary else classes
        return ops.cast(y_true, dtype) * (1.0 - share) + share / parts

    @property
    def options(self) -> list[Any]:
        """The values to choose from."""
        return self.number.options

    @property
    def chosen(self) -> Any:
        """The chosen label smoothing."""
        return self.number.chosen

    def choose(self, smoothing: float) -> None:
        """Choose a label smoothing."""
        self.number.choose(smoothing)

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
    """Return the loss of a network that has taken a step, if its label smoothing may mutate.

    It may not where there are several, nor where the loss is the user's own or has no smoothing.
    """
    own = single_loss(network)
    function = getattr(own, "fn", None)
    if function is None or is_custom(type(own)) or is_custom(function):
        return None

    name = getattr(function, "__name__", "")
    settings = loss_settings(own)
    # Of two classes, the axis is that of a mean only.
    has_usual_axis = name.startswith("binary") or settings.get("axis", -1) == -1
    has_all_classes = settings.get("ignore_class") is None
    # A class that is left out, or another axis, would need a loss of our own.
    is_known = name in (*CLASSES, SPARSE) and has_usual_axis and has_all_classes
    return LossSlot(network, own, name) if is_known else None
