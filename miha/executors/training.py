"""One training: a network goes on from its parent's values, and what can go wrong meanwhile."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.random import Generator

from miha.callbacks import Callback, notify
from miha.errors import MihaError, TrainerError, first_line
from miha.randomness import generator
from miha.records import Curve, Epoch, Network, Progress, Snapshot, Task, TrainingRecord
from miha.search.fitness import LOSES, score
from miha.search.plan import Plan
from miha.storage.checkpoint import Checkpoints
from miha.storage.text_log import say
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
        checkpoints: Where a long training notes how far it has come; None: nowhere.
    """

    plan: Plan
    trainer: Trainer
    callbacks: Sequence[Callback]
    checkpoints: Checkpoints | None = None

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
        is_clone = task.phase == "clone"
        self.begin(task)
        try:
            epochs = self._train(task, parent, values)
            snapshot = self.trainer.snapshot()
            network = self.finished(task, parent, epochs, snapshot)
        except Exception as error:
            if not is_clone or is_user_error(error):
                raise
            text, story = failure_of(error)
            return failed(task, parent, text, story)

        if network.record.failure is None or is_clone:
            return network
        # The network itself must not be lost: its values before this training are good.
        warn(
            f"The network diverged in its {task.phase} training ({task.genome}): "
            f"{self.plan.monitor} is not finite. The run goes on from the values before it."
        )
        return Network(network.record.replace(value=parent.value), values)

    def evaluate(self, task: Task, parent: TrainingRecord, values: Snapshot) -> Network:
        """Evaluate values with a genome, without training them.

        Args:
            task: Which clone they become; of no epochs.
            parent: The network whose genome the values were trained with.
            values: What to evaluate.
        """
        self.begin(task)
        self._restore(parent, values)
        origin = self.origin(task, parent)
        self.trainer.express(task.genome, origin.transition, origin.rng)
        value = self.value(Epoch(self.trainer.evaluate(), 0.0))
        record = record_of(task, parent, ()).replace(value=value)
        return Network(record, self.trainer.snapshot())

    def begin(self, task: Task) -> None:
        """Call the callbacks before a training."""
        notify(self.callbacks, Callback.on_training_begin, task)

    def end_epoch(self, task: Task, epoch: Epoch) -> None:
        """Call the callbacks after an epoch."""
        # A value that is not logged shall cost one epoch, not m.
        self.value(epoch)
        notify(self.callbacks, Callback.on_epoch_end, task, epoch)

    def generators(self, task: Task) -> tuple[Generator, Generator]:
        """Return what draws a training's order of samples, and its noise."""
        return _order_and_noise(self.plan.seed, task)

    def origin(self, task: Task, parent: TrainingRecord) -> Origin:
        """Return how a network comes by its first values."""
        rng = _weights(self.plan.seed, task)
        return Origin(parent.genome, task.change.transition, rng)

    def finished(
        self,
        task: Task,
        parent: TrainingRecord,
        epochs: tuple[Epoch, ...],
        snapshot: Snapshot,
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
        record = record.replace(value=values[-1])
        if not math.isfinite(record.value):
            failure = f"diverged: {self.plan.monitor} is {record.value}"
            record = record.replace(failure=failure)

        if task.phase == "clone":
            start = math.nan if record.start is None else record.start
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

    def _train(
        self,
        task: Task,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> tuple[Epoch, ...]:
        self._restore(parent, values)
        progress = None
        if self.checkpoints is not None:
            progress = self.checkpoints.begin(task, parent)
        if progress is not None:
            done = progress.epochs
            say(f"Goes on in {task.archive} after epoch {len(done)} of {task.epochs}")
            notify(self.callbacks, Callback.on_training_resume, task, done)
        return train_on(
            self.trainer,
            task,
            self.plan.seed,
            partial(self.end_epoch, task),
            progress,
            self.checkpoints,
        )

    def _restore(self, parent: TrainingRecord, values: Snapshot) -> None:
        self.trainer.restore(values)
        # A transition begins from what the parent is, not from what was trained before.
        self.trainer.express(parent.genome)


def train_on(
    trainer: Trainer,
    task: Task,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Epoch, ...]:
    """Train the live network from the values that it has, every draw in its place.

    Args:
        trainer: The live network.
        task: What to train.
        seed: The run's.
        on_epoch: Called after each epoch that is trained.
        progress: How far an earlier process has come; None: the training begins.
        checkpoints: Where to note how far it has come; None: nowhere.

    Returns:
        The trained epochs, those of the progress among them.
    """
    rng = _weights(seed, task)
    trainer.express(task.genome, task.change.transition, rng)
    order, noise = _order_and_noise(seed, task)
    trained = [] if progress is None else [*progress.epochs]

    def end_epoch(epoch: Epoch) -> None:
        on_epoch(epoch)
        trained.append(epoch)
        # After a loss that is not finite, or the last epoch, there is nothing to go on with.
        is_finite = np.isfinite(epoch.logs.get("loss", 0.0)).all()
        if checkpoints is not None and is_finite and len(trained) < task.epochs:
            checkpoints.offer(task, lambda: trainer.progress(trained, order))

    rates = task.rates or None
    epochs = trainer.train(task.epochs, order, noise, end_epoch, rates, progress, task.data)
    if task.phase != "final" or not epochs:
        return epochs

    # `fit` averages weights after its last epoch, where that was asked for.
    *before, last = epochs
    logs = {**last.logs, **trainer.finalize()}
    return (*before, replace(last, logs=logs))


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
        rates=task.rates,
        data=task.data,
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
    record = record.replace(archive=None, start=None)
    record = record.replace(fitness=LOSES, failure=story)
    return Network(record, None)


def failure_of(error: Exception) -> tuple[str, str]:
    """Return an error in a sentence, and its traceback."""
    text = f"{type(error).__name__}: {first_line(error)}"
    story = "".join(traceback.format_exception(error))
    return text, story[-LONGEST_FAILURE:]


def is_user_error(error: Exception) -> bool:
    """Return whether an error is no failure of a clone: the user's code raised, or an argument."""
    return isinstance(error, MihaError) and not isinstance(error, TrainerError)


def _weights(seed: int, task: Task) -> Generator:
    """Return what draws new weights, other ones for each clone."""
    cycle = task.cycle or 0
    clone = task.clone or 0
    return generator(seed, task.phase, cycle, clone, "weights")


def _order_and_noise(seed: int, task: Task) -> tuple[Generator, Generator]:
    # All clones of a cycle see the same samples in the same order, and the same noise.
    cycle = task.cycle or 0
    order = generator(seed, task.phase, cycle, 0, "order")
    noise = generator(seed, task.phase, cycle, 0, "noise")
    return order, noise
