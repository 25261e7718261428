"""One training of the start, as everybody does it first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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

        stopping = keras.callbacks.EarlyStopping(
            monitor=task.monitor,
            patience=self.patience or max(5, task.epochs // 10),
            mode=task.mode,
        )
        model = task.build(task.start)
        arguments = task.arguments(task.start)
        model.fit(**arguments, epochs=task.epochs, callbacks=[stopping, falling(task)])
        return task.best()


@dataclass(frozen=True)
class CosineAverages(Strategy):
    """`fit` with a learning rate that falls along a cosine, and averaged weights: an expert's way.

    The optimizer averages over about an epoch (`use_ema`), with a momentum of at least 0.9. The
    averages are evaluated.
    """

    name: str = "cosine + averaged weights"

    def run(self, task: Task) -> Model:
        """Train the start for all epochs."""
        import keras

        arguments = task.arguments(task.start)
        steps = math.ceil(len(task.x) / arguments["batch_size"])
        model = task.build(task.start)
        model.optimizer.use_ema = True
        model.optimizer.ema_momentum = max(0.9, 1 - 1 / steps)

        trained: list[Any] = []

        def put_averages_in(logs: Any) -> None:
            trained[:] = [variable.numpy() for variable in model.trainable_variables]
            model.optimizer.finalize_variable_values(model.trainable_variables)

        def take_averages_out(epoch: int, logs: Any) -> None:
            for variable, value in zip(model.trainable_variables, trained, strict=False):
                variable.assign(value)

        # What is evaluated stays until the next epoch: it is what an epoch's network is.
        averages = keras.callbacks.LambdaCallback(on_epoch_begin=take_averages_out)
        averages.on_test_begin = put_averages_in
        model.fit(**arguments, epochs=task.epochs, callbacks=[averages, falling(task)])
        return task.best()


def falling(task: Task) -> Any:
    """Return the callback that lets the start's learning rate fall along a cosine."""
    import keras

    first = float(task.start.learning_rate or 0.0)

    def rate(epoch: int) -> float:
        angle = math.pi * epoch / task.epochs
        share = 0.5 * (1 + math.cos(angle))
        return first * share

    return keras.callbacks.LearningRateScheduler(rate)
