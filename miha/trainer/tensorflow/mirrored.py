"""The trainer of networks that were built in the scope of a `tf.distribute.MirroredStrategy`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.records import Epoch, Genome, Snapshot, Transition
from miha.trainer.base import Kind, should_continue
from miha.trainer.genes.optimizers import name_of
from miha.trainer.network.replicas import strategy_of
from miha.trainer.protocol import Way
from miha.trainer.tensorflow.loops import mapped
from miha.trainer.tensorflow.trainer import TensorFlowTrainer


class MirroredTrainer(TensorFlowTrainer):
    """Trains one live Keras network on TensorFlow, every batch shared out to several devices.

    An epoch is Keras' own `train_function`, called from batch to batch as `fit` calls it. Each
    optimizer class has one, made when it is first needed.
    """

    def __init__(self, network: keras.Model, *args: Any, **kwargs: Any) -> None:
        self._strategy = strategy_of(network)
        self._functions: dict[str, Any] = {}
        super().__init__(network, *args, **kwargs)

    @property
    def device(self) -> str:
        """See `Trainer`."""
        number = self._strategy.num_replicas_in_sync
        return f"{super().device}, batches shared out to {number} devices"

    @property
    def traces(self) -> int:
        """How many programs of steps there are."""
        return 0 if self._network.run_eagerly else len(self._functions)

    def obstacle(self, way: Way) -> str | None:
        """See `Trainer`."""
        if way == "graph":
            return None
        return "its batches are shared out to several devices (`tf.distribute`)"

    @classmethod
    def probe(cls, network: keras.Model, batch: Any) -> Mapping[str, Any]:
        """See `KerasTrainer`; names come in the order in which one device alone logs them."""
        strategy = network.distribute_strategy
        logs = strategy.run(network.test_step, args=(batch,))
        first: dict[str, Any] = {}
        for name, values in logs.items():
            first[name] = strategy.experimental_local_results(values)[0]
        return first

    def restore(self, snapshot: Snapshot) -> None:
        """See `Trainer`; an optimizer may be made."""
        with self._strategy.scope():
            super().restore(snapshot)

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        """See `Trainer`; an optimizer may be made."""
        with self._strategy.scope():
            super().express(genome, transition, rng)

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        with self._strategy.scope():
            return super().train(epochs, order, noise, on_epoch, rates)

    def evaluate(self) -> dict[str, Any]:
        """See `Trainer`."""
        with self._strategy.scope():
            return super().evaluate()

    def finalize(self) -> dict[str, Any]:
        """See `Trainer`."""
        with self._strategy.scope():
            return super().finalize()

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
        function = self._function(kind)
        batches = self._batches(kind, order, batch_size)
        logs: Mapping[str, Any] = {}
        for batch in batches:
            # Keras' takes as many steps as `compile` asks for at once, if there are as many.
            logs = function(itertools.chain([batch], batches))
            if kind == "train" and not should_continue(logs):
                break
        return logs

    def _function(self, kind: Kind) -> Any:
        """Return Keras' function that takes steps; it binds the optimizer when it is traced."""
        network = self._network
        is_training = kind == "train"
        name: str = kind
        if is_training:
            name += f" {name_of(network.optimizer)}"
        if self._blend.is_on:
            name += " blending"

        if name not in self._functions:
            if is_training:
                network.make_train_function(force=True)
                self._functions[name] = network.train_function
            else:
                network.make_test_function(force=True)
                self._functions[name] = network.test_function
        return self._functions[name]

    def _batches(self, kind: Kind, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the batches of an order of samples, each in a part for each device."""
        data = self._sources[kind]
        devices = self._strategy.num_replicas_in_sync

        def gather(places: np.ndarray) -> Any:
            return mapped(lambda array: tf.gather(array, places), data)

        for batch in in_batches(order, batch_size, devices):
            parts = in_parts(batch, batch_size, devices)
            yield self._strategy.experimental_distribute_values_from_function(
                lambda device, parts=parts: gather(parts[device.replica_id_in_sync_group])
            )


def in_batches(order: np.ndarray, batch_size: int, devices: int) -> list[np.ndarray]:
    """Return the batches of an order of samples.

    Samples that are left, and fewer than the devices, join the last batch: a device without a
    sample would make a loss of NaN, as it does in `fit`.
    """
    left = len(order) % batch_size
    end = len(order) - left
    if left >= devices:
        end += 1
    starts = range(batch_size, end, batch_size)
    return [batch for batch in np.split(order, starts) if len(batch)]


def in_parts(batch: np.ndarray, batch_size: int, devices: int) -> list[np.ndarray]:
    """Return what each device takes of a batch: as TensorFlow shares it out, if all get some.

    Args:
        batch: Places of the samples.
        batch_size: How many a whole batch has, a multiple of ``devices``.
        devices: How many share it. Where the batch has fewer samples, each takes all of them.
    """
    if len(batch) < devices:
        return [batch] * devices
    part = batch_size // devices
    has_all = (devices - 1) * part < len(batch) <= batch_size
    if has_all:
        return np.split(batch, range(part, part * devices, part))
    return np.array_split(batch, devices)
