"""The loss of a network with one, and how its label smoothing is chosen at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import Model

from miha.trainer.genes.switches import Switch
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
"""Losses with label smoothing, by the name of their function. That of sparse labels has none."""


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

    def make(self, smoothing: float) -> Any:
        """Return the loss with a label smoothing; the user's object where that is its own."""
        if smoothing == self.label_smoothing:
            return self.own
        settings = loss_settings(self.own)
        settings["reduction"] = self.own.reduction
        settings["label_smoothing"] = smoothing
        return CLASSES[self.name](**settings)

    def install(self, smoothings: Sequence[float]) -> LossSwitch:
        """Let the label smoothing be chosen at run time, from these; the own one is the first."""
        losses = {smoothing: self.make(smoothing) for smoothing in smoothings}
        switch = LossSwitch(losses)
        replace_single_loss(self.network, switch)
        return switch


class LossSwitch(Switch):
    """A loss whose label smoothing is chosen at run time, in the compiled graph.

    Args:
        losses: The losses to choose from, by their label smoothing; the network's own first.
    """

    def __init__(
        self,
        losses: dict[float, Any],
    ) -> None:
        super().__init__(list(losses))
        self._losses = list(losses.values())
        self.name = self._losses[0].name

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
    ) -> Any:
        """Return the value of the chosen loss."""

        # Not as operands of the switch: Keras knows the logits of these very predictions.
        def calls(
            loss: Any,
        ) -> Callable[[], Any]:
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
    """Return the loss of a network that has taken a step, if its label smoothing may mutate.

    It may not where there are several, nor where the loss is the user's own or has no smoothing.
    """
    own = single_loss(network)
    function = getattr(own, "fn", None)
    if function is None or is_custom(type(own)) or is_custom(function):
        return None

    name = getattr(function, "__name__", "")
    return LossSlot(network, own, name) if name in CLASSES else None
