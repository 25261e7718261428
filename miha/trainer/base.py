"""What the trainers of all backends share: how their live network is trained."""

from __future__ import annotations

import abc
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np

from miha.data.arrays import Data, map_arrays
from miha.data.feed import fed, first_inputs, to_tensor
from miha.data.stream import Stream
from miha.errors import TrainerError
from miha.randomness import move_to, position
from miha.records import Epoch, FinalData, Genome, Mode, Progress, Snapshot
from miha.space import Space
from miha.trainer.exporter import Exporter
from miha.trainer.genes.activations import Slot
from miha.trainer.genes.inputs import InputChanges
from miha.trainer.genes.losses import LossSlot
from miha.trainer.genes.noise import Noise
from miha.trainer.genes.optimizers import inner
from miha.trainer.live_network import LiveNetwork
from miha.trainer.protocol import Way
from miha.trainer.transitions.fresh import FreshValues

Kind = Literal["train", "test"]
"""Which of Keras' steps: `train_step` or `test_step`."""

Logs = Mapping[str, Any]
"""What a step logs, by name."""

Steps = Callable[[Kind, np.ndarray, int], Logs]
"""Takes a step on each batch of an order of samples; see `KerasTrainer._steps`."""


@dataclass(frozen=True)
class Settings:
    """How the data is gone through.

    Attributes:
        batch_size: The batch size to begin with.
        validation_batch_size: Batch size of the evaluation, the same for every genome.
        prefix: Stands before the names of the evaluation's values, e.g. ``"val_"``.
        shuffle: Whether each epoch has another order of samples.
        augmentation: Configurations of the layers that may change inputs.
    """

    batch_size: int
    validation_batch_size: int
    prefix: str
    shuffle: bool
    augmentation: tuple[Any, ...] = ()


class KerasTrainer(LiveNetwork, abc.ABC):
    """Trains one live Keras network; a subclass takes the steps on its backend.

    The first six arguments and ``fresh`` are those of `LiveNetwork`.

    Args:
        data: Training data: arrays on the device, or a stream read in each epoch.
        evaluation: What the network is evaluated on after each epoch, or None.
        settings: How the data is gone through.
        metrics: See `Trainer`, as ``fingerprint`` and ``mirror``.
        exporter: Makes archives and plain networks.
        final: Training and validation data together, for a training of both; or None.
    """

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        noise: Sequence[Noise],
        loss: LossSlot | None,
        inputs: InputChanges,
        space: Space,
        data: Data | Stream,
        evaluation: Data | Stream | None,
        settings: Settings,
        metrics: dict[str, Mode | None],
        exporter: Exporter,
        fresh: FreshValues,
        fingerprint: dict[str, str],
        mirror: Exporter | None = None,
        final: Data | None = None,
    ) -> None:
        super().__init__(network, slots, noise, loss, inputs, space, fresh)
        self.mirror = mirror
        self.metrics = metrics
        self.fingerprint = fingerprint
        self._settings = settings
        self._batch_size = settings.batch_size
        self._exporter = exporter
        self._data = data
        self._final = final
        self._samples = data.samples
        self._evaluation_samples = 0 if evaluation is None else evaluation.samples
        self._sources: dict[Kind, Any] = {}
        self._streams: dict[Kind, Stream] = {}
        self._add_source("train", data)
        if evaluation is not None:
            self._add_source("test", evaluation)

    is_padded = False
    """Whether a program is compiled for one number of samples, to which streams are padded."""

    @property
    def backend(self) -> str:
        """See `Trainer`."""
        return str(keras.backend.backend())

    @property
    @abc.abstractmethod
    def device(self) -> str:
        """See `Trainer`."""

    @property
    @abc.abstractmethod
    def traces(self) -> int:
        """See `Trainer`."""

    @property
    def is_parallel(self) -> bool:
        """See `Trainer`."""
        return False

    @property
    def compiler(self) -> str:
        """See `Trainer`."""
        return "eager"

    @property
    def settings(self) -> dict[str, Any]:
        """See `Trainer`."""
        return asdict(self._settings)

    def obstacle(self, way: Way) -> str | None:
        """See `Trainer`."""
        return f"the backend {self.backend!r} of Keras has no such way"

    @classmethod
    def foreign_state(
        cls,
        network: keras.Model,
    ) -> list[str]:
        """Name what a network learns beside its variables, which no snapshot would hold.

        E.g. ``"the buffer running_mean"``.
        """
        return []

    @classmethod
    def probe(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """Take a test step on a batch and return what is logged; may change what is measured."""
        logs: Logs = network.test_step(batch)
        return logs

    @classmethod
    def probe_training(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """Take a training step on a batch and return what is logged; changes the network."""
        logs: Logs = network.train_step(batch)
        return logs

    @abc.abstractmethod
    def _steps(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        """Take a step on each batch of an order of samples.

        A training stops at the first step whose loss is not finite; an evaluation is one of all
        samples, as in Keras.

        Args:
            kind: Whether to train or to evaluate.
            order: Places of the samples in the data of that kind.
            batch_size: Samples a step; the last one takes what is left.

        Returns:
            What the last step logged.
        """

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
        progress: Progress | None = None,
        data: FinalData = "train",
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        if noise is not None:
            self._reseed(noise)

        optimizer = self._network.optimizer
        rate = self.genome.learning_rate
        annealed: list[float] = []
        if rates is not None and rate is not None:
            annealed = [rate * factor for factor in rates]

        trained: list[Epoch] = []
        if progress is not None:
            # Last: a seed of the whole training was planted before, and the rate was read.
            trained += progress.epochs
            self._go_to(progress, order)
        try:
            if data == "all":
                self._train_on(self._final)
            for number in range(len(trained), epochs):
                if annealed:
                    optimizer.learning_rate = annealed[number]
                epoch = self._epoch(order)
                trained.append(epoch)
                self._blend.end()
                should_stop = on_epoch(epoch)
                if should_stop or not _is_finite(epoch):
                    break
        finally:
            # The network must hold its genome again, also after an error.
            if annealed:
                optimizer.learning_rate = rate
            if data == "all":
                self._train_on(self._data)
        return tuple(trained)

    def progress(self, epochs: Sequence[Epoch], order: np.random.Generator) -> Progress:
        """See `Trainer`."""
        noise = self._noise_states()
        return Progress(self.snapshot(), tuple(epochs), position(order), noise)

    def _go_to(self, progress: Progress, order: np.random.Generator) -> None:
        """Let the network, and what draws, be where they were at the end of an epoch."""
        self.restore(progress.snapshot)
        move_to(order, progress.order)

    def _noise_states(self) -> tuple[np.ndarray, ...]:
        """Return the states of generators that are no variables of the network."""
        return ()

    def evaluate(self) -> dict[str, Any]:
        """See `Trainer`."""
        return self._evaluated(self._steps)

    def finalize(self) -> dict[str, Any]:
        """See `Trainer`."""
        if not inner(self._network.optimizer).use_ema:
            return {}
        weights = self._network.trainable_variables
        self._network.optimizer.finalize_variable_values(weights)
        return self.evaluate()

    def export(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> bytes:
        """See `Trainer`."""
        return self._exporter.export(snapshot, genome)

    def recall(self, archive: bytes) -> Snapshot:
        """See `Trainer`."""
        return self._exporter.recall(archive)

    def load(self, archive: bytes) -> keras.Model:
        """See `Trainer`."""
        return self._exporter.load(archive)

    def _train_on(self, data: Data | Stream | None) -> None:
        """Exchange the training data for other samples of the same kind."""
        if data is None:
            raise TrainerError("The trainer must have been given what the last training takes.")
        # The old ones first: the device need not hold both.
        self._sources.pop("train", None)
        self._samples = data.samples
        self._add_source("train", data)

    def _add_source(
        self,
        kind: Kind,
        source: Data | Stream,
    ) -> None:
        """Bring arrays to the device; a stream is brought part by part."""
        if isinstance(source, Stream):
            self._streams[kind] = source
        elif source is self._data and "train" in self._sources:
            self._sources[kind] = self._sources["train"]
        else:
            self._sources[kind] = map_arrays(to_tensor, source.packed)

    @cached_property
    def _few(self) -> Any:
        """Some inputs, the same each time."""
        few = first_inputs(self._data, self._settings.batch_size)
        return map_arrays(to_tensor, few)

    def _epoch(
        self,
        order: np.random.Generator,
    ) -> Epoch:
        start = time.perf_counter()
        logs = self._epoch_logs(order, self._staged)
        seconds = time.perf_counter() - start
        return Epoch(logs, seconds)

    def _epoch_logs(
        self,
        order: np.random.Generator,
        steps: Steps,
    ) -> dict[str, Any]:
        """Train and evaluate once; return what both have logged."""
        if "train" in self._streams:
            logs = self._streamed("train", self._batch_size, order)
        else:
            samples = np.arange(self._samples)
            if self._settings.shuffle:
                samples = order.permutation(samples)
            self._network.reset_metrics()
            logs = _numbers_of(steps("train", samples, self._batch_size))
        return logs | self._evaluated(steps)

    def _evaluated(
        self,
        steps: Steps,
    ) -> dict[str, Any]:
        if self._loss is None:
            logs = self._evaluation_logs(steps)
        else:
            # A mutated loss trains; the user's measures, the same for every genome.
            with self._loss.own():
                logs = self._evaluation_logs(steps)
        prefix = self._settings.prefix
        return {prefix + name: value for name, value in logs.items()}

    def _evaluation_logs(
        self,
        steps: Steps,
    ) -> dict[str, Any]:
        batch_size = self._settings.validation_batch_size
        if "test" in self._streams:
            return self._streamed("test", batch_size, None)
        if "test" not in self._sources:
            return {}
        samples = np.arange(self._evaluation_samples)
        self._network.reset_metrics()
        return _numbers_of(steps("test", samples, batch_size))

    def _staged(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        """Take steps; where activations blend, those of one stage after another."""
        if kind == "test":
            return self._steps(kind, order, batch_size)

        steps_an_epoch = math.ceil(self._samples / batch_size)
        logs: Logs = {}
        try:
            for part in self._blend.parts(order, batch_size, steps_an_epoch):
                logs = self._steps(kind, part, batch_size)
                if not should_continue(logs):
                    break
        finally:
            self._blend.pause()
        return logs

    def _streamed(
        self,
        kind: Kind,
        batch_size: int,
        order: np.random.Generator | None,
    ) -> dict[str, Any]:
        """Take the steps of an epoch of a stream: those of each part, as if it were all."""
        stream = self._streams[kind]
        shuffle = self._settings.shuffle and kind == "train"
        parts = fed(stream, batch_size, order, shuffle, self.is_padded)
        self._network.reset_metrics()
        logs: Logs = {}
        # Closed also when an error ends the loop: a thread may be reading ahead.
        with contextlib.closing(parts):
            for part in parts:
                samples = np.arange(part.samples)
                self._sources[kind] = part.tensors
                logs = self._staged(kind, samples, part.batch_size)
                if kind == "train" and not should_continue(logs):
                    break
        self._sources.pop(kind, None)
        return _numbers_of(logs)


def spread(logs: Logs) -> dict[str, Any]:
    """Return logs without dictionaries in them, as `fit` spreads what a step of one's own logs."""
    found: dict[str, Any] = {}
    for name, value in logs.items():
        found |= spread(value) if isinstance(value, Mapping) else {str(name): value}
    return found


def should_continue(logs: Logs) -> Any:
    """Return whether another step may follow: the loss is finite, or a custom step logs none."""
    logs = spread(logs)
    if "loss" not in logs:
        return True
    is_finite = keras.ops.isfinite(logs["loss"])
    return keras.ops.all(is_finite)


def _numbers_of(logs: Logs) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name, value in spread(logs).items():
        array = keras.ops.convert_to_numpy(value)
        numbers[name] = array.tolist()
    return numbers


def _is_finite(epoch: Epoch) -> bool:
    # A custom `train_step` need not log its loss.
    loss = epoch.logs.get("loss", 0.0)
    return bool(np.isfinite(loss).all())
