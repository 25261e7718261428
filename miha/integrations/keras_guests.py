"""One callback of Keras in a run: called as in `fit`, and watched, since it may only look."""

from __future__ import annotations

import zlib
from typing import Any

import keras
import numpy as np

from miha.integrations.keras_checks import is_overridden
from miha.utils.warn import warn

CURES = {
    "learning rate": "Learning rates are mutated: name 'learning_rate' in `mutations`, or compile "
    "the network with a `keras.optimizers.schedules.LearningRateSchedule`",
    "weights": "Bound weights with a `keras.constraints.Constraint` of their layer",
    "optimizer": "Optimizers are mutated: compile the network with the one to begin with",
    "`trainable`": "Freeze layers before the run",
}
"""What a callback may try to change, and how it is changed instead."""


class Guest:
    """A callback of Keras, which looks at a copy of the network.

    Args:
        callback: The user's.
        network: What it looks at.
        epochs: Epochs of the main line, as far as they are known.
    """

    def __init__(
        self,
        callback: Any,
        network: Any,
        epochs: int,
    ) -> None:
        self.name = type(callback).__name__
        self.has_stopped = False
        self._callback = callback
        self._network = network
        self._is_watched = _runs_user_code(callback)
        self._list = keras.callbacks.CallbackList(
            [callback],
            model=network,
            epochs=epochs,
            verbose=0,
            steps=None,
        )

    def call(
        self,
        hook: str,
        *args: Any,
    ) -> None:
        """Call a hook; warn where it changes the network, which no training would notice."""
        # Looking takes time, and a hook that Keras left empty changes nothing.
        is_watched = self._is_watched and is_overridden(self._callback, hook)
        before = State(self._network) if is_watched else None
        getattr(self._list, hook)(*args)
        self.has_stopped |= bool(self._network.stop_training)
        self._network.stop_training = False
        if before is None:
            return

        changes = before.changes(self._network)
        if changes:
            # Once is enough.
            self._is_watched = False
            cures = [CURES[change] for change in changes]
            warn(
                f"The callback {self.name} changes the network ({', '.join(changes)}): that has "
                "no effect, since callbacks of Keras look at a copy of it. "
                f"{'; '.join(cures)}."
            )


class State:
    """What a callback may try to change in a network.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        optimizer = network.optimizer
        self._optimizer = optimizer
        self._rate = float(optimizer.learning_rate)
        self._trainable = _trainable(network)
        self._weights = _checksum(network)

    def changes(self, network: Any) -> list[str]:
        """Name what is another in the network now."""
        found = []
        if self._optimizer is not network.optimizer:
            found.append("optimizer")
        elif self._rate != float(network.optimizer.learning_rate):
            found.append("learning rate")
        if self._trainable != _trainable(network):
            found.append("`trainable`")
        if self._weights != _checksum(network):
            found.append("weights")
        return found


def _trainable(network: Any) -> list[int]:
    """Return which variables of a network are trained."""
    return [id(weight) for weight in network.trainable_variables]


def _checksum(network: Any) -> int:
    """Return the CRC-32 of all weights: a copy of a large network takes longer, and memory."""
    checksum = 0
    # On PyTorch only Keras knows how to read a weight; elsewhere it would copy each.
    is_torch = keras.backend.backend() == "torch"
    for weight in network.weights:
        array = keras.ops.convert_to_numpy(weight) if is_torch else np.asarray(weight.value)
        # As bytes: NaN is as good as any other value.
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        checksum = zlib.crc32(data.data, checksum)
    return checksum


def _runs_user_code(callback: Any) -> bool:
    """Return whether a callback may do anything: Keras' own only look, where a run takes them."""
    kind = type(callback)
    package = kind.__module__.split(".")[0]
    return package != "keras" or isinstance(callback, keras.callbacks.LambdaCallback)
