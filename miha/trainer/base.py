"""What the trainers of all backends share: how their live network is trained."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np

from miha.data.arrays import Data, map_arrays
from miha.data.feed import Fed, fed, first_inputs, to_tensor
from miha.data.stream import Stream
from miha.records import Epoch, Genome, Mode, Snapshot
from miha.space import Space
from miha.trainer.exporter import Exporter
from miha.trainer.genes.activations import Slot
from miha.trainer.genes.losses import LossSlot
from miha.trainer.genes.noise import Noise
from miha.trainer.genes.optimizers import inner
from miha.trainer.live_network import LiveNetwork
from miha.trainer.protocol import Way
from miha.trainer.transitions import fresh as transitions

Kind = Literal["train", "test"]
"""Which of Keras' steps: `train_step` or `test_step`."""

Steps = Callable[[Kind, np.ndarray, int], Mapping[str, Any]]
"""Takes a step on each batch of an order of samples; see `KerasTrainer._steps`."""


@dataclass(frozen=True)
class Settings:
    """How the data is gone through.

    Attributes:
        batch_size: The batch size to begin with.
        validation_batch_size: Batch size of the evaluation, the same for every genome.
        prefix: Stands before the names of the evaluation's values, e.g. ``"val_"``.
        shuffle: Whether the order of samples is drawn anew for each epoch.
    """

    batch_size: int
    validation_batch_size: int
    prefix: str
    shuffle: bool


class KerasTrainer(LiveNetwork, abc.ABC):
    """Trains one live Keras network; a subclass takes the steps on its backend.

    Args:
        network: The live network; the trainer changes it.
        slots: The activation slots of ``network`` that may mutate.
        noise: Its layers whose noise may mutate.
        loss: Its loss, where that may mutate.
        space: What each gene may become.
        data: Training data: held on the device, or read anew for each epoch.
        evaluation: What the network is evaluated on after each epoch, or None.
        settings: How the data is gone through.
        metrics: Names of the logged values, and the direction in which each is better.
        exporter: Makes archives and plain networks.
        fresh: Draws first values anew.
        fingerprint: Checksums of data and network.
        mirror: A network that callbacks of Keras may look at, or None.
    """

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        noise: Sequence[Noise],
        loss: LossSlot | None,
        space: Space,
        data: Data | Stream,
        evaluation: Data | Stream | None,
        settings: Settings,
        metrics: dict[str, Mode | None],
        exporter: Exporter,
        fresh: transitions.FreshValues,
        fingerprint: dict[str, str],
        mirror: Exporter | None = None,
    ) -> None:
        super().__init__(network, slots, noise, loss, space, fresh)
        self.mirror = mirror
        self.metrics = metrics
        self.fingerprint = fingerprint
        self._settings = settings
        self._batch_size = settings.batch_size
        self._exporter = exporter
        self._data = data
        self._samples = data.samples
        self._evaluation_samples = 0 if evaluation is None else evaluation.samples
        self._sources: dict[Kind, Any] = {}
        self._streams: dict[Kind, Stream] = {}
        self._hold("train", data)
        if evaluation is not None:
            self._hold("test", evaluation)

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

    def obstacle(self, way: Way) -> str | None:
        """See `Trainer`."""
        return f"the backend {self.backend!r} of Keras has no such way"

    @classmethod
    def foreign_state(cls, network: keras.Model) -> list[str]:
        """Name what a network learns beside its variables, which no snapshot would hold.

        E.g. ``"the buffer running_mean"``.
        """
        return []

    @classmethod
    def probe(cls, network: keras.Model, batch: Any) -> Mapping[str, Any]:
        """Take a test step on a batch and return what is logged; may change what is measured."""
        logs: Mapping[str, Any] = network.test_step(batch)
        return logs

    @abc.abstractmethod
    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
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

    @property
    def settings(self) -> dict[str, Any]:
        """See `Trainer`."""
        return asdict(self._settings)

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], None],
        rates: Sequence[float] | None = None,
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        if noise is not None:
            self._reseed(noise)
        trained: list[Epoch] = []
        with self._annealed(rates) as anneal:
            while len(trained) < epochs and all(map(_is_finite, trained[-1:])):
                anneal(len(trained))
                trained.append(self._epoch(order))
                self._blend.end()
                on_epoch(trained[-1])
        return tuple(trained)

    @contextlib.contextmanager
    def _annealed(self, rates: Sequence[float] | None) -> Iterator[Callable[[int], None]]:
        """Yield what sets the learning rate of an epoch; at the end, it is what it was."""
        optimizer, rate = self._network.optimizer, self.genome.learning_rate
        if rates is None or rate is None:
            yield lambda epoch: None
            return
        try:
            yield lambda epoch: setattr(optimizer, "learning_rate", rate * rates[epoch])
        finally:
            optimizer.learning_rate = rate

    def finalize(self) -> dict[str, Any]:
        """See `Trainer`."""
        if not inner(self._network.optimizer).use_ema:
            return {}
        self._network.optimizer.finalize_variable_values(self._network.trainable_variables)
        return self._evaluated(self._steps)

    def export(self, snapshot: Snapshot, genome: Genome) -> bytes:
        """See `Trainer`."""
        return self._exporter.export(snapshot, genome)

    def recall(self, archive: bytes) -> Snapshot:
        """See `Trainer`."""
        return self._exporter.recall(archive)

    def load(self, archive: bytes) -> keras.Model:
        """See `Trainer`."""
        return self._exporter.load(archive)

    @cached_property
    def _few(self) -> Any:
        """Some inputs, the same each time."""
        return map_arrays(to_tensor, first_inputs(self._data, self._settings.batch_size))

    def _epoch(self, order: np.random.Generator) -> Epoch:
        start = time.perf_counter()
        return Epoch(self._epoch_logs(order, self._staged), time.perf_counter() - start)

    def _epoch_logs(self, order: np.random.Generator, steps: Steps) -> dict[str, Any]:
        """Train and evaluate once; return what both have logged."""
        if "train" in self._streams:
            return self._streamed("train", self._batch_size, order) | self._evaluated(steps)
        samples = np.arange(self._samples)
        permutation = order.permutation(samples) if self._settings.shuffle else samples
        logs = self._logs("train", permutation, self._batch_size, steps)
        return logs | self._evaluated(steps)

    def _staged(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
        """Take steps; where activations blend, those of one stage after another."""
        if kind == "test":
            return self._steps(kind, order, batch_size)
        logs: Mapping[str, Any] = {}
        try:
            for part in self._blend.parts(order, batch_size, -(-self._samples // batch_size)):
                logs = self._steps(kind, part, batch_size)
                if not goes_on(logs):
                    break
        finally:
            self._blend.pause()
        return logs

    def _evaluated(self, steps: Steps) -> dict[str, Any]:
        size, samples = self._settings.validation_batch_size, np.arange(self._evaluation_samples)
        with contextlib.nullcontext() if self._loss is None else self._loss.own():
            if "test" in self._streams:
                values = self._streamed("test", size, None)
            elif "test" in self._sources:
                values = self._logs("test", samples, size, steps)
            else:
                return {}
        return {self._settings.prefix + name: value for name, value in values.items()}

    def _logs(self, kind: Kind, order: np.ndarray, batch_size: int, steps: Steps) -> dict[str, Any]:
        self._network.reset_metrics()
        return _numbers_of(steps(kind, order, batch_size))

    def _hold(self, kind: Kind, source: Data | Stream) -> None:
        """Bring arrays to the device; a stream is brought part by part."""
        if isinstance(source, Stream):
            self._streams[kind] = source
        elif source is self._data and "train" in self._sources:
            self._sources[kind] = self._sources["train"]
        else:
            self._sources[kind] = map_arrays(to_tensor, source.packed)

    def _streamed(
        self, kind: Kind, batch_size: int, order: np.random.Generator | None
    ) -> dict[str, Any]:
        """Take the steps of an epoch of a stream: those of each part, as if it were all."""
        self._network.reset_metrics()
        logs: Mapping[str, Any] = {}
        with contextlib.closing(self._fed(kind, batch_size, order)) as parts:
            for part in parts:
                self._sources[kind] = part.tensors
                logs = self._staged(kind, np.arange(part.samples), part.batch_size)
                if kind == "train" and not goes_on(logs):
                    break
        self._sources.pop(kind, None)
        return _numbers_of(logs)

    def _fed(
        self, kind: Kind, batch_size: int, order: np.random.Generator | None
    ) -> Generator[Fed, None, None]:
        shuffle = self._settings.shuffle and kind == "train"
        return fed(self._streams[kind], batch_size, order, shuffle, self.is_padded)


def goes_on(logs: Mapping[str, Any]) -> Any:
    """Tell whether a training goes on: its loss is finite, or not told by a custom step."""
    return "loss" not in logs or keras.ops.all(keras.ops.isfinite(logs["loss"]))


def _numbers_of(logs: Mapping[str, Any]) -> dict[str, Any]:
    to_numpy = keras.ops.convert_to_numpy
    return {str(name): to_numpy(value).tolist() for name, value in logs.items()}


def _is_finite(epoch: Epoch) -> bool:
    # A `train_step` of the user's own need not tell its loss.
    return bool(np.isfinite(epoch.logs.get("loss", 0.0)).all())
