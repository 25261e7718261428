"""The TensorFlow trainer: one live network, its epoch compiled once for each optimizer class."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.errors import TrainerError
from miha.records import Epoch, Genome, Mode, Snapshot
from miha.space import Space
from miha.trainer.copies import values
from miha.trainer.data import Data
from miha.trainer.exporter import Exporter
from miha.trainer.optimizers import Optimizers, inner, name_of, short_decimal
from miha.trainer.pace import Pace
from miha.trainer.surgery import Slot, Switch

Step = Callable[[Any], Any]


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


class TensorFlowTrainer:
    """Trains one live Keras network.

    The epoch is a graph loop over Keras' own `train_step`, so whatever `fit` honours is
    honoured, and its weights are those of `fit`, bit for bit. Activations are chosen at run
    time; each optimizer class has a trace of its own, made when it is first needed.

    Args:
        network: The live network; the trainer changes it.
        slots: The activation slots of ``network`` that may mutate.
        space: What each gene may become.
        data: Training data.
        evaluation: What the network is evaluated on after each epoch, or None.
        settings: How the data is gone through.
        metrics: Names of the logged values, and the direction in which each is better.
        exporter: Makes archives and plain networks.
        fingerprint: Checksums of data and network.
    """

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        space: Space,
        data: Data,
        evaluation: Data | None,
        settings: Settings,
        metrics: dict[str, Mode | None],
        exporter: Exporter,
        fingerprint: dict[str, str],
    ) -> None:
        self.space = space
        self.metrics = metrics
        self.fingerprint = fingerprint
        self._network = network
        self._switches = {slot.name: _install(slot, space.slots[slot.name]) for slot in slots}
        self._optimizers = Optimizers(network)
        self._optimizers.use(self._optimizers.own_name)
        self._settings = settings
        self._batch_size = settings.batch_size
        self._exporter = exporter
        self._loops: dict[str, Any] = {}
        self._paces: dict[str, Pace] = defaultdict(Pace)
        self._data = _to_device(data)
        self._samples = data.samples
        self._evaluation = None if evaluation is None else _to_device(evaluation)
        self._evaluation_samples = 0 if evaluation is None else evaluation.samples

    @property
    def device(self) -> str:
        """See `Trainer`."""
        gpus = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        names = [detail.get("device_name", "GPU") for detail in details]
        return f"TensorFlow {tf.__version__} on " + (", ".join(names) or "CPU")

    @property
    def settings(self) -> dict[str, Any]:
        """See `Trainer`."""
        return asdict(self._settings)

    @property
    def traces(self) -> int:
        """How many traces of epochs and evaluations there are."""
        loops = [] if self._network.run_eagerly else self._loops.values()
        return sum(loop.experimental_get_tracing_count() for loop in loops)

    @property
    def genome(self) -> Genome:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        scheduled = self._optimizers.scheduled
        rate = None if scheduled else short_decimal(optimizer.learning_rate)
        activations = tuple((name, switch.chosen) for name, switch in self._switches.items())
        return Genome(name_of(optimizer), rate, self._batch_size, activations)

    def snapshot(self) -> Snapshot:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        variables, slots = values(self._network.variables), values(optimizer.variables)
        return Snapshot(variables, name_of(optimizer), slots)

    def restore(self, snapshot: Snapshot) -> None:
        """See `Trainer`."""
        optimizer = self._optimizers.use(snapshot.optimizer)
        _assign(self._network.variables, snapshot.variables)
        _assign(optimizer.variables, snapshot.slots)

    def express(self, genome: Genome) -> None:
        """See `Trainer`."""
        if genome.optimizer != name_of(self._network.optimizer):
            self._optimizers.start_fresh(genome.optimizer)
        if genome.learning_rate is not None:
            self._network.optimizer.learning_rate = genome.learning_rate
        for slot, activation in genome.activations:
            self._switches[slot].choose(activation)
        self._batch_size = genome.batch_size
        self._check_expressed(genome)

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], None],
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        if noise is not None:
            self._reseed(noise)
        trained: list[Epoch] = []
        while len(trained) < epochs and all(_is_finite(epoch.logs) for epoch in trained[-1:]):
            trained.append(self._epoch(order))
            on_epoch(trained[-1])
        return tuple(trained)

    def finalize(self) -> dict[str, Any]:
        """See `Trainer`."""
        if not inner(self._network.optimizer).use_ema:
            return {}
        self._network.optimizer.finalize_variable_values(self._network.trainable_variables)
        return self._evaluated()

    def export(self, snapshot: Snapshot, genome: Genome) -> bytes:
        """See `Trainer`."""
        return self._exporter.export(snapshot, genome)

    def recall(self, archive: bytes) -> Snapshot:
        """See `Trainer`."""
        return self._exporter.recall(archive)

    def load(self, archive: bytes) -> keras.Model:
        """See `Trainer`."""
        return self._exporter.load(archive)

    def _check_expressed(self, genome: Genome) -> None:
        found, rate = self.genome, genome.learning_rate
        expected = genome if rate is None else genome.replace(learning_rate=short_decimal(rate))
        if found != expected:
            raise TrainerError(
                f"The network must hold the genome that was expressed. Expected: {expected}. "
                f"Found: {found}. This is a fault of MIHA or of a custom optimizer."
            )

    def _reseed(self, noise: np.random.Generator) -> None:
        """Draw new states for the seed generators: the variables that are no weights."""
        weights = {id(weight) for weight in self._network.weights}
        for variable in self._network.variables:
            if id(variable) not in weights:
                variable.assign(np.array([noise.integers(2**31 - 1), 0]))

    def _epoch(self, order: np.random.Generator) -> Epoch:
        start = time.perf_counter()
        samples = np.arange(self._samples)
        permutation = order.permutation(samples) if self._settings.shuffle else samples
        logs = self._run("train", self._train_loop, permutation, self._batch_size)
        logs |= self._evaluated()
        return Epoch(logs, time.perf_counter() - start)

    def _evaluated(self) -> dict[str, Any]:
        if self._evaluation is None:
            return {}
        samples = np.arange(self._evaluation_samples)
        values = self._run("test", self._test_loop, samples, self._settings.validation_batch_size)
        return {self._settings.prefix + name: value for name, value in values.items()}

    def _run(self, name: str, loop: Any, order: np.ndarray, batch_size: int) -> dict[str, Any]:
        self._network.reset_metrics()
        size, done, pace = tf.constant(batch_size, tf.int64), 0, self._paces[name]
        logs: Any = {}
        while done < len(order) and _GOES_ON[name](logs):
            part = order[done : done + pace.steps * batch_size]
            with pace.measured(len(part) / batch_size):
                logs = loop(tf.constant(part, tf.int64), size)
            done += len(part)
        return _to_python(logs)

    @property
    def _train_loop(self) -> Any:
        """The epoch with the optimizer at hand, which `train_step` binds when it is traced."""
        name = name_of(self._network.optimizer)
        return self._loop(f"train {name}", self._network.train_step, self._data, _GOES_ON["train"])

    @property
    def _test_loop(self) -> Any:
        return self._loop("test", self._network.test_step, self._evaluation, _GOES_ON["test"])

    def _loop(self, name: str, step: Step, data: Any, goes_on: Step) -> Any:
        if name not in self._loops:
            self._loops[name] = _loop_over(step, data, goes_on, self._network.run_eagerly)
        loop = self._loops[name]
        # Called as a whole, TensorFlow would warn of many functions of one name being traced.
        return loop if self._network.run_eagerly else loop.get_concrete_function()


def _install(slot: Slot, names: Sequence[str]) -> Switch:
    switch = Switch(slot.branches(names))
    slot.put(switch)
    return switch


def _to_device(data: Data) -> Any:
    """Return the data as a training step takes it, on the device."""
    packed = keras.utils.pack_x_y_sample_weight(data.x, data.y, data.sample_weight)
    return _map(tf.constant, packed)


def _map(function: Callable[[Any], Any], structure: Any) -> Any:
    """Apply a function to every leaf of a structure but None."""
    return tf.nest.map_structure(lambda a: None if a is None else function(a), structure)


def _loop_over(step: Step, data: Any, goes_on: Step, run_eagerly: bool) -> Any:
    """Return a function that takes a step on each batch of an order of samples.

    Args:
        step: `train_step` or `test_step`.
        data: Tensors on the device.
        goes_on: Whether another step is to follow, from the logs of the last one.
        run_eagerly: Whether to leave everything uncompiled, as the user's `compile` asked.

    Returns:
        ``(order, batch_size) -> logs`` after the last step; one graph for every batch size.
    """

    def batch(order: Any, start: Any, size: Any) -> Any:
        return _map(lambda a: tf.gather(a, order[start : start + size]), data)

    def eager_loop(order: Any, size: Any) -> Any:
        for start in range(0, len(order), int(size)):
            logs = step(batch(order, start, size))
            if not goes_on(logs):
                break
        return logs

    if run_eagerly:
        return eager_loop
    # Not converted by AutoGraph: `fit` does not either.
    compiled = tf.function(
        lambda batch: tf.nest.map_structure(tf.convert_to_tensor, step(batch)), autograph=False
    )
    spec = _map(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), data)

    def graph_loop(order: Any, size: Any) -> Any:
        one_step = compiled.get_concrete_function(spec)
        logs = one_step.structured_outputs
        _, logs = tf.while_loop(
            lambda start, logs: (start < tf.size(order, tf.int64)) & goes_on(logs),
            lambda start, _: (start + size, one_step(batch(order, start, size))),
            (tf.constant(0, tf.int64), tf.nest.map_structure(_zeros, logs)),
            shape_invariants=(tf.TensorShape(()), tf.nest.map_structure(lambda s: s.shape, logs)),
        )
        return logs

    scalar, vector = (tf.TensorSpec(shape, tf.int64) for shape in ((), (None,)))
    return tf.function(graph_loop, input_signature=(vector, scalar), autograph=False)


def _zeros(spec: tf.TensorSpec) -> Any:
    return tf.zeros([length or 0 for length in spec.shape], spec.dtype)


def _to_python(logs: Any) -> dict[str, Any]:
    return {str(name): np.asarray(value).tolist() for name, value in logs.items()}


def _is_finite(logs: Any) -> Any:
    if "loss" not in logs:  # A `train_step` of the user's own need not tell.
        return tf.constant(True)
    return tf.reduce_all(tf.math.is_finite(tf.cast(logs["loss"], tf.float64)))


def _assign(variables: list[Any], values: tuple[np.ndarray, ...]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# A training that has diverged stops at once; an evaluation is one of all samples, as in Keras.
_GOES_ON: dict[str, Step] = {"train": _is_finite, "test": lambda logs: tf.constant(True)}
