"""Networks that count their own epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from miha.compare.meter import Meter
from miha.errors import ArgumentError
from miha.records import Genome


class Counting(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types.
    """Takes a ticket for each epoch of a `fit`, and stops it when there is none left.

    Args:
        meter: What counts.
        monitor: Name of the value that decides.
        genome: The network's.
    """

    def __init__(self, meter: Meter, monitor: str, genome: Genome) -> None:
        super().__init__()
        self._meter, self._monitor, self._genome = meter, monitor, genome

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Take a ticket."""
        self._meter.take()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch down; end the training where the budget is spent."""
        logs = logs or {}
        if self._monitor not in logs:
            raise ArgumentError(
                f"`monitor` must be what `fit` logs: {sorted(logs)}. "
                f"Received: monitor={self._monitor!r}. Choose one of them, or compile the network "
                "with that metric."
            )
        self._meter.offer(logs[self._monitor], self._genome, self.model.get_weights)
        self._meter.record(logs[self._monitor])  # The last: other processes may end this one now.
        if self._meter.is_over:
            self.model.stop_training = True


def counted(model: Any, meter: Meter, monitor: str, genome: Genome) -> Any:
    """Have a network count its epochs, whoever calls its `fit`; return it.

    The counting callback is the first, so that no other one ends an epoch before it is counted.
    """
    fit = model.fit

    def fit_and_count(*args: Any, callbacks: Any = None, **kwargs: Any) -> Any:
        others = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        mine = [Counting(meter, monitor, genome), *(c for c in others if c is not None)]
        return fit(*args, callbacks=mine, **kwargs)

    model.fit = fit_and_count
    return model
