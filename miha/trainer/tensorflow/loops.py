"""Steps of TensorFlow in a compiled loop: a graph, or a program of XLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from miha.trainer.genes.switches import SwitchedNumber

Step = Callable[[Any], Any]
"""Keras' `train_step` or `test_step`, or what decides from its logs whether another follows."""


class GraphNumber(SwitchedNumber):
    """A number that a graph looks up once in a step, however many weights it is used for."""

    def __init__(self, options: Sequence[float]) -> None:
        super().__init__(options)
        self._found: dict[Any, Any] = {}

    def __tf_tensor__(
        self,
        dtype: Any = None,
        name: str | None = None,
    ) -> Any:
        """Return the number as TensorFlow wants it."""
        tensor = self.look_up()
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def look_up(self) -> Any:
        """See `SwitchedNumber`."""
        if tf.executing_eagerly():
            return self._gather()
        graph = tf.compat.v1.get_default_graph()
        if graph not in self._found:
            self._found[graph] = self._gather()
        return self._found[graph]

    def _gather(self) -> Any:
        table = tf.constant(self.options, tf.float32)
        return tf.gather(table, self.index.value)


def mapped(function: Step, structure: Any) -> Any:
    """Apply a function to every leaf of a structure but None."""

    def apply(leaf: Any) -> Any:
        return None if leaf is None else function(leaf)

    return tf.nest.map_structure(apply, structure)


def leaves(data: Any) -> list[Any]:
    """Return every leaf of a structure but None."""
    flat = tf.nest.flatten(data)
    return [leaf for leaf in flat if leaf is not None]


def packed(
    structure: Any,
    found: Sequence[Any],
) -> Any:
    """Return a structure with other leaves, in the order of `leaves`."""
    following = iter(found)
    return mapped(lambda _: next(following), structure)


def loop_over(
    step: Step,
    structure: Any,
    spec: list[tf.TensorSpec],
    should_continue: Step,
    run_eagerly: bool,
    jit_compile: bool,
) -> Any:
    """Return a function that takes a step on each batch of an order of samples.

    Args:
        step: `train_step` or `test_step`.
        structure: Something in place of each tensor that the step takes.
        spec: What the tensors in it may look like.
        should_continue: Whether another step may follow, from the logs of the last one.
        run_eagerly: Whether to compile nothing.
        jit_compile: Whether XLA compiles each step.

    Returns:
        ``(tensors, order, batch_size) -> logs`` after the last step; one graph for every batch
        size and number of samples.
    """

    def batch(
        data: list[Any],
        order: Any,
        start: Any,
        size: Any,
    ) -> Any:
        places = order[start : start + size]
        rows = [tf.gather(array, places) for array in data]
        return packed(structure, rows)

    def eager_loop(
        data: list[Any],
        order: Any,
        size: Any,
    ) -> Any:
        starts = range(0, len(order), int(size))
        for start in starts:
            logs = step(batch(data, order, start, size))
            if not should_continue(logs):
                break
        return logs

    if run_eagerly:
        return eager_loop
    compiled = _compiled(step, jit_compile)

    def graph_loop(
        data: list[Any],
        order: Any,
        size: Any,
    ) -> Any:
        one_step = compiled.get_concrete_function(packed(structure, spec))
        logs = one_step.structured_outputs

        def is_next(start: Any, logs: Any) -> Any:
            is_left = start < tf.size(order, tf.int64)
            return is_left & should_continue(logs)

        def take(start: Any, _: Any) -> Any:
            logs = one_step(batch(data, order, start, size))
            return start + size, logs

        start = tf.constant(0, tf.int64)
        no_logs = tf.nest.map_structure(_zeros, logs)
        shapes = tf.nest.map_structure(lambda tensor: tensor.shape, logs)
        _, logs = tf.while_loop(
            is_next,
            take,
            (start, no_logs),
            shape_invariants=(start.shape, shapes),
        )
        return logs

    vector = tf.TensorSpec((None,), tf.int64)
    scalar = tf.TensorSpec((), tf.int64)
    signature = (spec, vector, scalar)
    return tf.function(graph_loop, input_signature=signature, autograph=False)


def xla_loop_over(
    step: Step,
    data: Any,
    should_continue: Step,
    batch_size: int,
) -> Any:
    """Return a function that XLA compiles: steps on full batches of an order of samples.

    Returns:
        ``(order, start, stop) -> logs`` after the last step.
    """
    # The loop is compiled, and the step with it.
    compiled = _compiled(step, jit_compile=False)
    spec = mapped(lambda array: spec_of(array, batch_size), data)

    def loop(
        order: Any,
        start: Any,
        stop: Any,
    ) -> Any:
        one_step = compiled.get_concrete_function(spec)

        def is_next(place: Any, logs: Any) -> Any:
            return (place < stop) & should_continue(logs)

        def take(place: Any, _: Any) -> Any:
            start = place * batch_size
            part = tf.slice(order, [start], [batch_size])
            batch = mapped(lambda array: tf.gather(array, part), data)
            return place + 1, one_step(batch)

        no_logs = tf.nest.map_structure(_zeros, one_step.structured_outputs)
        _, logs = tf.while_loop(is_next, take, (start, no_logs))
        return logs

    return tf.function(loop, jit_compile=True, autograph=False)


def spec_of(
    array: Any,
    samples: int | None,
) -> tf.TensorSpec:
    """Return what an array of so many samples looks like; None: of any number."""
    shape = (samples, *array.shape[1:])
    return tf.TensorSpec(shape, array.dtype)


def _compiled(step: Step, jit_compile: bool) -> Any:
    def tensors(batch: Any) -> Any:
        return tf.nest.map_structure(tf.convert_to_tensor, step(batch))

    # `fit` does not convert it by AutoGraph either.
    return tf.function(tensors, autograph=False, jit_compile=jit_compile or None)


def _zeros(spec: tf.TensorSpec) -> Any:
    shape = [length or 0 for length in spec.shape]
    return tf.zeros(shape, spec.dtype)
