"""The TensorFlow trainer: the epoch compiled once for each optimizer class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from miha.trainer.base import KerasTrainer, Kind, goes_on
from miha.trainer.choices import Number
from miha.trainer.optimizers import name_of
from miha.trainer.pace import Pace

Step = Callable[[Any], Any]


class GraphNumber(Number):
    """A number that a graph looks up once in a step, however many weights it is used for."""

    def __init__(self, options: Sequence[float]) -> None:
        super().__init__(options)
        self._found: dict[tuple[Any, ...], Any] = {}

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """Return the number as TensorFlow wants it."""
        tensor = self.look_up(self.options)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def look_up(self, values: list[float]) -> Any:
        """See `Number`."""
        if tf.executing_eagerly():
            return tf.gather(tf.constant(values, tf.float32), self.index.value)
        key = (tf.compat.v1.get_default_graph(), *values)
        if key not in self._found:
            self._found[key] = tf.gather(tf.constant(values, tf.float32), self.index.value)
        return self._found[key]


class TensorFlowTrainer(KerasTrainer):
    """Trains one live Keras network on TensorFlow.

    The epoch is a graph loop over Keras' own `train_step`, so whatever `fit` honours is
    honoured, and its weights are those of `fit`, bit for bit. Activations and their like are
    chosen at run time; each optimizer class has a trace of its own, made when it is first needed.
    """

    number = GraphNumber

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loops: dict[str, Any] = {}
        self._paces: dict[Kind, Pace] = defaultdict(Pace)

    @property
    def device(self) -> str:
        """See `Trainer`."""
        gpus = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        names = [detail.get("device_name", "GPU") for detail in details]
        return f"TensorFlow {tf.__version__} on " + (", ".join(names) or "CPU")

    @property
    def traces(self) -> int:
        """How many traces of epochs and evaluations there are."""
        loops = [] if self._network.run_eagerly else self._loops.values()
        return sum(loop.experimental_get_tracing_count() for loop in loops)

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
        loop, size, pace = self._loop(kind), tf.constant(batch_size, tf.int64), self._paces[kind]
        done, logs = 0, dict[str, Any]()
        while done < len(order) and _GOES_ON[kind](logs):
            part = order[done : done + pace.steps * batch_size]
            with pace.measured(len(part) / batch_size):
                logs = loop(tf.constant(part, tf.int64), size)
            done += len(part)
        return logs

    def _loop(self, kind: Kind) -> Any:
        """Return the steps of an epoch; `train_step` binds the optimizer when it is traced."""
        network, is_training = self._network, kind == "train"
        name = f"train {name_of(network.optimizer)}" if is_training else kind
        if name not in self._loops:
            step = network.train_step if is_training else network.test_step
            self._loops[name] = _loop_over(
                step, self._sources[kind], _GOES_ON[kind], network.run_eagerly
            )
        # Called as a whole, TensorFlow would warn of many functions of one name being traced.
        loop = self._loops[name]
        return loop if network.run_eagerly else loop.get_concrete_function()


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


# A training that has diverged stops at once; an evaluation is one of all samples, as in Keras.
_GOES_ON: dict[Kind, Step] = {"train": goes_on, "test": lambda logs: True}
