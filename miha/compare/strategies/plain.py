"""One training of the start, as everybody does it first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from miha.compare.strategies.base import Strategy
from miha.compare.task import Model, Task


@dataclass(frozen=True)
class Plain(Strategy):
    """`fit`, and nothing else; the best epoch by the monitored value is kept."""

    name: str = "plain training"

    def run(self, task: Task) -> Model:
        """Train the start for all epochs."""
        model = task.build(task.start)
        model.fit(**task.arguments(task.start), epochs=task.epochs)
        return task.best()


@dataclass(frozen=True)
class CosineEarlyStopping(Strategy):
    """`fit` with a learning rate that falls along a cosine, and early stopping.

    Attributes:
        patience: Epochs without a better monitored value after which it stops; None: a tenth of
            the budget, at least 5.
    """

    name: str = "cosine + early stopping"
    patience: int | None = None

    def run(self, task: Task) -> Model:
        """Train the start until it no longer gets better."""
        import keras

        first = float(task.start.learning_rate or 0.0)

        def rate(epoch: int) -> float:
            angle = math.pi * epoch / task.epochs
            share = 0.5 * (1 + math.cos(angle))
            return first * share

        stopping = keras.callbacks.EarlyStopping(
            monitor=task.monitor,
            patience=self.patience or max(5, task.epochs // 10),
            mode=task.mode,
        )
        falling = keras.callbacks.LearningRateScheduler(rate)
        model = task.build(task.start)
        arguments = task.arguments(task.start)
        model.fit(**arguments, epochs=task.epochs, callbacks=[stopping, falling])
        return task.best()
