"""The trainer of networks that were built in the scope of a `tf.distribute.MirroredStrategy`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.records import Epoch, Genome, Snapshot, Transition
from miha.trainer.base import Kind, goes_on
from miha.trainer.genes.optimizers import name_of
from miha.trainer.network.replicas import strategy_of
from miha.trainer.protocol import Way
from miha.trainer.tensorflow.loops import leaves, mapped
from miha.trainer.tensorflow.trainer import TensorFlowTrainer


class MirroredTrainer(TensorFlowTrainer):
    """Trains one live Keras network on TensorFlow, every batch shared out to several devices.

    An epoch is Keras' own `train_function`, called from batch to batch as `fit` calls it. Each
    optimizer class has one of its own, made when it is first needed.
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
        return {name: strategy.experimental_local_results(v)[0] for name, v in logs.items()}

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
        on_epoch: Callable[[Epoch], None],
        rates: Sequence[float] | None = None,
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        with self._strategy.scope():
            return super().train(epochs, order, noise, on_epoch, rates)

    def finalize(self) -> dict[str, Any]:
        """See `Trainer`."""
        with self._strategy.scope():
            return super().finalize()

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
        function, batches = self._function(kind), self._batches(kind, order, batch_size)
        logs: Mapping[str, Any] = {}
        for batch in batches:
            # Keras' takes as many steps as `compile` asks for at once, if there are as many.
            logs = function(itertools.chain([batch], batches))
            if kind == "train" and not goes_on(logs):
                break
        return logs

    def _function(self, kind: Kind) -> Any:
        """Return Keras' function that takes steps; it binds the optimizer when it is traced."""
        network, is_training = self._network, kind == "train"
        name = f"train {name_of(network.optimizer)}" if is_training else kind
        name += " blending" * self._blend.is_on
        if name not in self._functions:
            make = network.make_train_function if is_training else network.make_test_function
            make(force=True)
            self._functions[name] = network.train_function if is_training else network.test_function
        return self._functions[name]

    def _batches(self, kind: Kind, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        """Yield the batches of an order of samples, each in a part for each device."""
        data, number = self._sources[kind], self._strategy.num_replicas_in_sync
        arrays, structure = leaves(data), mapped(lambda _: True, data)

        def gather(places: np.ndarray) -> Any:
            rows = iter([tf.gather(array, places) for array in arrays])
            return mapped(lambda _: next(rows), structure)

        for batch in in_batches(order, batch_size, number):
            parts = in_parts(batch, batch_size, number)
            yield self._strategy.experimental_distribute_values_from_function(
                lambda device, parts=parts: gather(parts[device.replica_id_in_sync_group])
            )


def in_batches(order: np.ndarray, batch_size: int, devices: int) -> list[np.ndarray]:
    """Return the batches of an order of samples.

    The last one takes those in that are left, where they are fewer than the devices: a device
    without a sample would make a loss of NaN, as it does in `fit`.

    Args:
        order: Places of the samples.
        batch_size: Samples a batch.
        devices: How many share a batch.
    """
    left = len(order) % batch_size
    full = len(order) - left
    starts = [*range(batch_size, full + (left >= devices), batch_size)]
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
    return (
        np.split(batch, range(part, part * devices, part))
        if has_all
        else np.array_split(batch, devices)
    )
