"""One callback of Keras in a run: called as in `fit`, and watched, since it may only look."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

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
        before = State(self._network) if self._is_watched else None
        getattr(self._list, hook)(*args)
        self.has_stopped |= bool(self._network.stop_training)
        self._network.stop_training = False
        if before is None:
            return

        changes = before.changes(State(self._network))
        if changes:
            # Once is enough, and looking takes time.
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
        self._trainable = [id(weight) for weight in network.trainable_variables]
        # Copied: on some backends an array shows what its variable becomes later.
        self._weights = [np.array(keras.ops.convert_to_numpy(w)) for w in network.weights]

    def changes(self, after: State) -> list[str]:
        """Name what differs from a later state."""
        found = []
        if self._optimizer is not after._optimizer:
            found.append("optimizer")
        elif self._rate != after._rate:
            found.append("learning rate")
        if self._trainable != after._trainable:
            found.append("`trainable`")

        pairs = zip(self._weights, after._weights, strict=True)
        # As bytes: NaN is as good as any other value.
        if any(first.tobytes() != second.tobytes() for first, second in pairs):
            found.append("weights")
        return found


def _runs_user_code(callback: Any) -> bool:
    """Return whether a callback may do anything: Keras' own only look, where a run takes them."""
    kind = type(callback)
    package = kind.__module__.split(".")[0]
    return package != "keras" or isinstance(callback, keras.callbacks.LambdaCallback)
