"""Weights that are scaled, and with them what an optimizer remembers of their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras.ops import convert_to_numpy

from miha.trainer.genes.optimizers import inner
from miha.trainer.network.keras_internals import slots_of


class Rescaling:
    """Scales weights and the slots of a built optimizer, and can take it back."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = inner(optimizer)
        self._before: list[tuple[Any, np.ndarray]] = []

    def apply(
        self,
        variable: Any,
        scale: Any,
        shift: Any = 0.0,
    ) -> None:
        """Scale and shift a variable; the slots of a weight are scaled to fit.

        A weight that is s times as large, in a network of the same function, has gradients s times
        as small. With unchanged slots, the first steps would be s times too large.

        Args:
            variable: A weight or a statistic.
            scale: Not zero; broadcast to its shape.
            shift: Added then.
        """
        self._assign(variable, _value(variable) * scale + shift)
        for slot, power in slots_of(self._optimizer, variable):
            self._assign(slot, _value(slot) / scale**power)

    def undo(self) -> None:
        """Give every variable the value that it had at first."""
        for variable, value in reversed(self._before):
            variable.assign(value)

    def _assign(
        self,
        variable: Any,
        value: np.ndarray,
    ) -> None:
        self._before.append((variable, _value(variable)))
        variable.assign(value)


def _value(variable: Any) -> np.ndarray:
    return np.array(convert_to_numpy(variable))
