"""One training: a network goes on from its parent's values, and what can go wrong meanwhile."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from miha.callbacks import Callback, notify
from miha.errors import MihaError, TrainerError, first_line
from miha.randomness import generator
from miha.records import Curve, Epoch, Network, Snapshot, Task, TrainingRecord
from miha.search.fitness import LOSES, score
from miha.search.plan import Plan
from miha.trainer.protocol import Origin, Trainer
from miha.utils.warn import warn

LONGEST_FAILURE = 20_000
"""Characters of a traceback that are kept: TensorFlow's can contain whole graphs."""


@dataclass(frozen=True)
class Training:
    """Trains the networks of a run, one at a time.

    Attributes:
        plan: What the run does.
        trainer: The live network.
        callbacks: Who watches.
    """

    plan: Plan
    trainer: Trainer
    callbacks: Sequence[Callback]

    def run(self, task: Task, parent: TrainingRecord, values: Snapshot) -> Network:
        """Train a network; what goes wrong in a clone is its own failure, and not the run's.

        Args:
            task: What to train.
            parent: The network to go on from.
            values: The parent's.

        Raises:
            MihaError: Something of the user's raised: a callback, the fitness.
            Exception: What training the network itself, no clone, raised.
        """
        self.begin(task)
        try:
            epochs = self._epochs(task, parent, values)
            network = self.finished(task, parent, epochs, self.trainer.snapshot())
        except Exception as error:
            if task.phase != "clone" or is_user_error(error):
                raise
            return failed(task, parent, *failure_of(error))
        has_diverged = network.record.failure is not None
        if has_diverged and task.phase != "clone":
            return self._undone(network, parent, values)
        return network

    def evaluate(self, task: Task, parent: TrainingRecord, values: Snapshot) -> Network:
        """Evaluate values with a genome, without training them.

        Args:
            task: Which clone they become; of no epochs.
            parent: The network whose genome the values were trained with.
            values: What to evaluate.
        """
        self.begin(task)
        self._prepare(parent, values)
        self.trainer.express(task.genome, task.change.transition, draw_weights(self.plan, task))
        value = self.value(Epoch(self.trainer.evaluate(), 0.0))
        record = record_of(task, parent, ()).replace(value=value)
        return Network(record, self.trainer.snapshot())

    def begin(self, task: Task) -> None:
        """Tell who watches that a training begins."""
        notify(self.callbacks, Callback.on_training_begin, task)

    def generators(self, task: Task) -> tuple[np.random.Generator, np.random.Generator]:
        """Return what draws a training's order of samples, and its noise."""
        return _generators(self.plan.seed, task)

    def origin(self, task: Task, parent: TrainingRecord) -> Origin:
        """Return how a network comes by its first values."""
        return Origin(parent.genome, task.change.transition, draw_weights(self.plan, task))

    def end_epoch(self, task: Task, epoch: Epoch) -> None:
        """Tell who watches that an epoch has ended."""
        # A value that is not logged shall cost one epoch, not m.
        self.value(epoch)
        notify(self.callbacks, Callback.on_epoch_end, task, epoch)

    def finished(
        self, task: Task, parent: TrainingRecord, epochs: tuple[Epoch, ...], snapshot: Snapshot
    ) -> Network:
        """Return the network that a training has made, a clone with its fitness.

        Args:
            task: The training.
            parent: The network that it went on from.
            epochs: Its epochs.
            snapshot: The values after them.

        Raises:
            MihaError: The user's fitness raised.
        """
        record = record_of(task, parent, epochs)
        if not epochs:
            return Network(record.replace(value=parent.value), snapshot)

        values = tuple(self.value(epoch) for epoch in epochs)
        start = math.nan if record.start is None else record.start
        value = values[-1]
        has_diverged = not math.isfinite(value)
        record = record.replace(
            value=value,
            failure=f"diverged: {self.plan.monitor} is {value}" if has_diverged else None,
            pruned=not has_diverged and len(epochs) < task.epochs and task.limits is not None,
        )
        if task.phase == "clone":
            curve = Curve(start, values, self.plan.mode)
            record = record.replace(fitness=score(self.plan.fitness, curve))
        return Network(record, snapshot)

    def value(self, epoch: Epoch) -> float:
        """Read the monitored value.

        Raises:
            MihaError: It is not logged.
        """
        if self.plan.monitor not in epoch.logs:
            raise MihaError(
                f"`monitor` must name a value that is logged: {list(epoch.logs)}. "
                f"Received: monitor={self.plan.monitor!r}. Let `train_step` return it."
            )
        return epoch.value(self.plan.monitor)

    def _epochs(self, task: Task, parent: TrainingRecord, values: Snapshot) -> tuple[Epoch, ...]:
        self._prepare(parent, values)
        has_annealing = task.phase == "final" and self.plan.search.anneal
        return train_on(
            self.trainer,
            task,
            self.plan.seed,
            has_annealing,
            lambda epoch: self.end_epoch(task, epoch),
        )

    def _prepare(self, parent: TrainingRecord, values: Snapshot) -> None:
        self.trainer.restore(values)
        # A transition begins from what the parent is, not from what was trained before.
        self.trainer.express(parent.genome)

    def _undone(self, network: Network, parent: TrainingRecord, values: Snapshot) -> Network:
        """Return to the last good values after the network itself has diverged."""
        warn(
            f"The network diverged in its {network.record.phase} training ({network.genome}): "
            f"{self.plan.monitor} is not finite. The run goes on from the values before it."
        )
        return Network(network.record.replace(value=parent.value), values)


def train_on(
    trainer: Trainer,
    task: Task,
    seed: int,
    anneal: bool,
    on_epoch: Callable[[Epoch], None],
) -> tuple[Epoch, ...]:
    """Train the live network from the values that it has, every draw in its place.

    Args:
        trainer: The live network.
        task: What to train.
        seed: The run's.
        anneal: Whether the learning rate falls along a cosine.
        on_epoch: Called after each epoch.

    Returns:
        The trained epochs.
    """
    trainer.express(task.genome, task.change.transition, _weights_generator(seed, task))
    rates = cosine(task.epochs) if anneal else None
    epochs = trainer.train(
        task.epochs, *_generators(seed, task), stops_at_limits(task, on_epoch), rates
    )
    if task.phase != "final" or not epochs:
        return epochs
    # `fit` averages weights after its last epoch, where that was asked for.
    last = replace(epochs[-1], logs={**epochs[-1].logs, **trainer.finalize()})
    return (*epochs[:-1], last)


def stops_at_limits(task: Task, on_epoch: Callable[[Epoch], None]) -> Callable[[Epoch], bool]:
    """Return a callback for `Trainer.train` that prunes a clone at its limits.

    Args:
        task: The clone.
        on_epoch: Called after each epoch, before the limits are read.
    """
    trained = 0

    def end_epoch(epoch: Epoch) -> bool:
        nonlocal trained
        on_epoch(epoch)
        trained += 1
        return task.limits is not None and task.limits.are_broken(trained - 1, epoch)

    return end_epoch


def record_of(task: Task, parent: TrainingRecord, epochs: tuple[Epoch, ...]) -> TrainingRecord:
    """Return the record of a training whose outcome is not known yet."""
    has_start = parent.value is not None and math.isfinite(parent.value)
    return TrainingRecord(
        phase=task.phase,
        cycle=task.cycle,
        clone=task.clone,
        archive=task.archive,
        parent=parent.archive,
        change=task.change,
        genome=task.genome,
        first_epoch=parent.age + 1,
        epochs=epochs,
        value=math.nan,
        start=parent.value if has_start else None,
    )


def failed(task: Task, parent: TrainingRecord, text: str, story: str) -> Network:
    """Return a clone that has lost because of an error: it has no values and no archive.

    Args:
        task: What it was to be.
        parent: The network that it went on from.
        text: What went wrong, in a sentence.
        story: The traceback, or the same sentence.
    """
    warn(
        f"Clone {task.clone} of cycle {task.cycle} ({task.genome}) failed and loses: "
        f"{text} The journal has the traceback."
    )
    record = record_of(task, parent, ())
    return Network(record.replace(archive=None, start=None, fitness=LOSES, failure=story), None)


def failure_of(error: Exception) -> tuple[str, str]:
    """Return an error in a sentence, and its traceback."""
    text = f"{type(error).__name__}: {first_line(error)}"
    story = "".join(traceback.format_exception(error))[-LONGEST_FAILURE:]
    return text, story


def is_user_error(error: Exception) -> bool:
    """Return whether an error is no failure of a clone: the user's code raised, or an argument."""
    return isinstance(error, MihaError) and not isinstance(error, TrainerError)


def cosine(epochs: int) -> list[float]:
    """Return the factor of the learning rate in each epoch: from 1, along a cosine, to near 0.

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts"
    (2017), equation 5, without restarts.

    Args:
        epochs: How many.
    """
    return [0.5 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(epochs)]


def draw_weights(plan: Plan, task: Task) -> np.random.Generator:
    """Return what draws new weights, other ones for each clone."""
    return _weights_generator(plan.seed, task)


def _weights_generator(seed: int, task: Task) -> np.random.Generator:
    return generator(seed, task.phase, task.cycle or 0, task.clone or 0, "weights")


def _generators(seed: int, task: Task) -> tuple[np.random.Generator, np.random.Generator]:
    # All clones of a cycle see the same samples in the same order, and the same noise.
    place = (seed, task.phase, task.cycle or 0, 0)
    return generator(*place, "order"), generator(*place, "noise")
