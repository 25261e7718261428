"""Weights that are scaled, and with them what an optimizer remembers of their gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from miha.trainer.genes.optimizers import inner

POWERS = {
    "momentums": 1,
    "_momentums": 1,
    "_average_gradients": 1,
    "_m": 1,
    "_u": 1,
    "_velocities": 2,
    "_velocity_hats": 2,
    "_accumulators": 2,
    "_accumulated_grads": 2,
    "_accumulated_delta_vars": -2,
}
"""Where Keras' optimizers keep their slots, and by which power of a gradient they go.

A weight that is s times as large, in a network of the same function, has gradients s times as
small. With slots of before, the first steps would be taken s times too far.
"""


class Rescaling:
    """Scales weights, and can take it back.

    Args:
        optimizer: The network's, built.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = inner(optimizer)
        self._before: list[tuple[Any, np.ndarray]] = []

    def apply(self, variable: Any, scale: Any, shift: Any = 0.0) -> None:
        """Scale and shift a variable; the slots of a weight are scaled to fit.

        Args:
            variable: A weight or a statistic.
            scale: Not zero; broadcast to its shape.
            shift: Added then.
        """
        self._assign(variable, _value(variable) * scale + shift)
        for slot, power in self._slots(variable):
            self._assign(slot, _value(slot) / scale**power)

    def undo(self) -> None:
        """Give every variable the value that it had at first."""
        for variable, value in reversed(self._before):
            variable.assign(value)

    def _slots(self, variable: Any) -> list[tuple[Any, int]]:
        weights = [id(weight) for weight in self._optimizer._trainable_variables]
        if id(variable) not in weights:
            return []
        place = weights.index(id(variable))
        found = [(getattr(self._optimizer, name, ()), power) for name, power in POWERS.items()]
        return [
            (slots[place], power)
            for slots, power in found
            if len(slots) == len(weights) and slots[place].shape == variable.shape
        ]

    def _assign(self, variable: Any, value: np.ndarray) -> None:
        self._before.append((variable, _value(variable)))
        variable.assign(value)


def _value(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))
