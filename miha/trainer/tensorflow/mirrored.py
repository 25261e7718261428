"""The trainer of networks that were built in the scope of a `tf.distribute.MirroredStrategy`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import keras
import numpy as np
import tensorflow as tf

from miha.trainer.base import Kind, Logs, should_continue
from miha.trainer.genes.optimizers import name_of
from miha.trainer.network.replicas import strategy_of
from miha.trainer.protocol import Way
from miha.trainer.tensorflow.loops import mapped
from miha.trainer.tensorflow.trainer import TensorFlowTrainer

Method = TypeVar("Method", bound=Callable[..., Any])


def _in_scope(method: Method) -> Method:
    """Call a trainer's method in the scope of its strategy."""

    @functools.wraps(method)
    def call(
        trainer: MirroredTrainer,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with trainer._strategy.scope():
            return method(trainer, *args, **kwargs)

    return cast(Method, call)


class MirroredTrainer(TensorFlowTrainer):
    """Trains one live Keras network on TensorFlow, every batch shared out to several devices.

    An epoch is Keras' own `train_function`, called from batch to batch as `fit` calls it. Each
    optimizer class has one, made when it is first needed.
    """

    def __init__(
        self,
        network: keras.Model,
        *args: Any,
        **kwargs: Any,
    ) -> None:
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
        return "its batches are shared out to several devices (`tf.distribute`)"

    @classmethod
    def probe(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """See `KerasTrainer`; names come in the order in which one device alone logs them."""
        return _first_logs(network, network.test_step, batch)

    @classmethod
    def probe_training(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """See `KerasTrainer`."""
        return _first_logs(network, network.train_step, batch)

    # A variable that is made, an optimizer's say, has a part on each device.
    restore = _in_scope(TensorFlowTrainer.restore)
    express = _in_scope(TensorFlowTrainer.express)
    train = _in_scope(TensorFlowTrainer.train)
    evaluate = _in_scope(TensorFlowTrainer.evaluate)
    finalize = _in_scope(TensorFlowTrainer.finalize)

    def _steps(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        function = self._function(kind)
        batches = self._batches(kind, order, batch_size)
        logs: Logs = {}
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

    def _batches(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Iterator[Any]:
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


def in_batches(
    order: np.ndarray,
    batch_size: int,
    devices: int,
) -> list[np.ndarray]:
    """Return the batches of an order of samples.

    Samples that are left, and fewer than the devices, join the last batch: a device without a
    sample would make a loss of NaN, as it does in `fit`.
    """
    left = len(order) % batch_size
    end = len(order) - left
    if left >= devices:
        end += 1
    starts = range(batch_size, end, batch_size)
    batches = np.split(order, starts)
    return [batch for batch in batches if len(batch)]


def in_parts(
    batch: np.ndarray,
    batch_size: int,
    devices: int,
) -> list[np.ndarray]:
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


def _first_logs(
    network: keras.Model,
    step: Callable[[Any], Logs],
    batch: Any,
) -> Logs:
    """Take a step on every device; return what the first one logs."""
    strategy = network.distribute_strategy
    logs = strategy.run(step, args=(batch,))
    first: dict[str, Any] = {}
    for name, values in logs.items():
        first[name] = strategy.experimental_local_results(values)[0]
    return first
