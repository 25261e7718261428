"""One training: a network goes on from its parent's values, and what can go wrong meanwhile."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from miha.callbacks import Callback, notify
from miha.errors import MihaError, TrainerError, first_line
from miha.randomness import generator
from miha.records import Curve, Epoch, Network, Snapshot, Task
from miha.search.fitness import LOSES, score
from miha.search.plan import Plan
from miha.trainer.protocol import Origin, Trainer
from miha.utils.warn import warn

LONGEST_FAILURE = 20_000
"""Characters of a traceback that are kept: TensorFlow's can hold whole graphs."""


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

    def run(self, task: Task, parent: Network, values: Snapshot) -> Network:
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
            network = self.judge(task, parent, epochs, self.trainer.snapshot())
            return self._back(network, parent, values) if _must_go_back(network) else network
        except Exception as error:
            is_ours = isinstance(error, MihaError) and not isinstance(error, TrainerError)
            if task.phase != "clone" or is_ours:
                raise
            text = f"{type(error).__name__}: {first_line(error)}"
            story = "".join(traceback.format_exception(error))[-LONGEST_FAILURE:]
            return failed(task, parent, text, story)

    def begin(self, task: Task) -> None:
        """Tell who watches that a training begins."""
        notify(self.callbacks, Callback.on_training_begin, task)

    def generators(self, task: Task) -> tuple[np.random.Generator, np.random.Generator]:
        """Return what draws a training's order of samples, and its noise."""
        return _generators(self.plan.seed, task)

    def origin(self, task: Task, parent: Network) -> Origin:
        """Return how a network comes by its first values."""
        return Origin(parent.genome, task.change.transition, _drawn(self.plan.seed, task))

    def end_epoch(self, task: Task, epoch: Epoch) -> None:
        """Tell who watches that an epoch has ended."""
        self.value(epoch.logs)  # A value that is not logged shall cost one epoch, not m.
        notify(self.callbacks, Callback.on_epoch_end, task, epoch)

    def _epochs(self, task: Task, parent: Network, values: Snapshot) -> tuple[Epoch, ...]:
        self.trainer.restore(values)
        # A transition begins from what the parent is, not from what was trained before.
        self.trainer.express(parent.genome)
        anneal = task.phase == "final" and self.plan.anneal
        watch = partial(self.end_epoch, task)
        return train_on(self.trainer, task, self.plan.seed, anneal, watch)

    def judge(
        self, task: Task, parent: Network, epochs: tuple[Epoch, ...], snapshot: Snapshot
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
        start = _start(task, parent)
        values = tuple(self.value(epoch.logs) for epoch in epochs)
        curve = Curve(math.nan if start is None else start, values, self.plan.mode)
        value = curve.last if epochs else parent.value
        diverged = bool(epochs) and not math.isfinite(value)
        return Network(
            task=task,
            snapshot=snapshot,
            epochs=epochs,
            age=parent.age + len(epochs),
            value=value,
            start=start,
            fitness=score(self.plan.fitness, curve) if task.phase == "clone" else None,
            parent=parent.archive,
            failure=f"diverged: {self.plan.monitor} is {value}" if diverged else None,
        )

    def _back(self, network: Network, parent: Network, values: Snapshot) -> Network:
        """Return to the last good values after the network itself has diverged."""
        warn(
            f"The network diverged in its {network.task.phase} training ({network.genome}): "
            f"{self.plan.monitor} is not finite. The run goes on from the values before it."
        )
        return replace(network, snapshot=values, value=parent.value)

    def value(self, logs: Mapping[str, Any]) -> float:
        """Read the monitored value; an epoch whose loss is not finite has none."""
        if self.plan.monitor not in logs:
            raise MihaError(
                f"`monitor` must name a value that is logged: {list(logs)}. "
                f"Received: monitor={self.plan.monitor!r}. Let `train_step` return it."
            )
        is_finite = math.isfinite(logs.get("loss", 0.0))
        return float(logs[self.plan.monitor]) if is_finite else math.nan


def train_on(
    trainer: Trainer, task: Task, seed: int, anneal: bool, on_epoch: Callable[[Epoch], None]
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
    trainer.express(task.genome, task.change.transition, _drawn(seed, task))
    rates = cosine(task.epochs) if anneal else None
    epochs = trainer.train(task.epochs, *_generators(seed, task), on_epoch, rates)
    if task.phase != "final" or not epochs:
        return epochs
    last = replace(epochs[-1], logs={**epochs[-1].logs, **trainer.finalize()})
    return (*epochs[:-1], last)


def _drawn(seed: int, task: Task) -> np.random.Generator:
    """Return what draws new weights, other ones for each clone."""
    return generator(seed, task.phase, task.cycle or 0, task.clone or 0, "weights")


def _generators(seed: int, task: Task) -> tuple[np.random.Generator, np.random.Generator]:
    # All clones of a cycle see the same samples in the same order, and the same noise.
    place = (seed, task.phase, task.cycle or 0, 0)
    return generator(*place, "order"), generator(*place, "noise")


def cosine(epochs: int) -> list[float]:
    """Return the factor of the learning rate in each epoch: from 1, along a cosine, to near 0.

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts"
    (2017), equation 5, without restarts.

    Args:
        epochs: How many.
    """
    return [0.5 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(epochs)]


def _start(task: Task, parent: Network) -> float | None:
    """Return the value that a fitness counts from: a clone of a clone has its population's."""
    is_of_clone = task.phase == parent.task.phase == "clone"
    start = parent.start if is_of_clone else parent.value
    return None if start is None or not math.isfinite(start) else start


def _must_go_back(network: Network) -> bool:
    return network.failure is not None and network.task.phase != "clone"


def failed(task: Task, parent: Network, text: str, story: str) -> Network:
    """Return a clone that has lost: its story is told, its values are gone.

    Args:
        task: What it was to be.
        parent: The network that it went on from.
        text: What went wrong, in a sentence.
        story: The traceback, or the same sentence.
    """
    warn(
        f"Clone {task.clone} of cycle {task.cycle} ({task.genome}) failed and loses: "
        f"{text} The journal holds the traceback."
    )
    return Network(
        task=task,
        snapshot=None,
        epochs=(),
        age=parent.age,
        value=math.nan,
        fitness=LOSES,
        parent=parent.archive,
        failure=story,
    )
