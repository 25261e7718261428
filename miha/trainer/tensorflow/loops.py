"""Steps of TensorFlow in a compiled loop: a graph, or a program of XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Step = Callable[[Any], Any]
"""Keras' `train_step` or `test_step`, or what tells from its logs whether another follows."""


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """Apply a function to every leaf of a structure but None."""
    return tf.nest.map_structure(lambda a: None if a is None else function(a), structure)


def leaves(data: Any) -> list[Any]:
    """Return every leaf of a structure but None."""
    return [leaf for leaf in tf.nest.flatten(data) if leaf is not None]


def loop_over(
    step: Step,
    structure: Any,
    spec: list[tf.TensorSpec],
    goes_on: Step,
    run_eagerly: bool,
    jit_compile: bool,
) -> Any:
    """Return a function that takes a step on each batch of an order of samples.

    Args:
        step: `train_step` or `test_step`.
        structure: Something in place of each tensor that the step takes.
        spec: What the tensors in it may look like.
        goes_on: Whether another step is to follow, from the logs of the last one.
        run_eagerly: Whether to leave everything uncompiled, as the user's `compile` asked.
        jit_compile: Whether XLA compiles each step, as the user's `compile` asked.

    Returns:
        ``(tensors, order, batch_size) -> logs`` after the last step; one graph for every batch
        size and number of samples.
    """

    def batch(data: list[Any], order: Any, start: Any, size: Any) -> Any:
        taken = iter([tf.gather(a, order[start : start + size]) for a in data])
        return mapped(lambda _: next(taken), structure)

    def eager_loop(data: list[Any], order: Any, size: Any) -> Any:
        for start in range(0, len(order), int(size)):
            logs = step(batch(data, order, start, size))
            if not goes_on(logs):
                break
        return logs

    if run_eagerly:
        return eager_loop
    compiled = _compiled(step, jit_compile)

    def graph_loop(data: list[Any], order: Any, size: Any) -> Any:
        specs = iter(spec)
        one_step = compiled.get_concrete_function(mapped(lambda _: next(specs), structure))
        logs = one_step.structured_outputs
        _, logs = tf.while_loop(
            lambda start, logs: (start < tf.size(order, tf.int64)) & goes_on(logs),
            lambda start, _: (start + size, one_step(batch(data, order, start, size))),
            (tf.constant(0, tf.int64), tf.nest.map_structure(_zeros, logs)),
            shape_invariants=(tf.TensorShape(()), tf.nest.map_structure(lambda s: s.shape, logs)),
        )
        return logs

    scalar, vector = (tf.TensorSpec(shape, tf.int64) for shape in ((), (None,)))
    return tf.function(graph_loop, input_signature=(spec, vector, scalar), autograph=False)


def xla_loop_over(step: Step, data: Any, goes_on: Step, batch_size: int) -> Any:
    """Return a function that XLA compiles: steps on full batches of an order of samples.

    Args:
        step: `train_step`.
        data: Tensors on the device.
        goes_on: Whether another step is to follow, from the logs of the last one.
        batch_size: Samples a step: XLA compiles for fixed shapes.

    Returns:
        ``(order, start, stop) -> logs`` after the last step.
    """
    compiled = _compiled(step, jit_compile=False)  # The loop is compiled, and the step with it.
    spec = mapped(lambda a: tf.TensorSpec((batch_size, *a.shape[1:]), a.dtype), data)

    def loop(order: Any, start: Any, stop: Any) -> Any:
        one_step = compiled.get_concrete_function(spec)

        def take(place: Any, _: Any) -> Any:
            part = tf.slice(order, [place * batch_size], [batch_size])
            return place + 1, one_step(mapped(lambda a: tf.gather(a, part), data))

        return tf.while_loop(
            lambda place, logs: (place < stop) & goes_on(logs),
            take,
            (start, tf.nest.map_structure(_zeros, one_step.structured_outputs)),
        )[1]

    return tf.function(loop, jit_compile=True, autograph=False)


def _compiled(step: Step, jit_compile: bool) -> Any:
    # Not converted by AutoGraph: `fit` does not either.
    return tf.function(
        lambda batch: tf.nest.map_structure(tf.convert_to_tensor, step(batch)),
        autograph=False,
        jit_compile=jit_compile or None,
    )


def _zeros(spec: tf.TensorSpec) -> Any:
    return tf.zeros([length or 0 for length in spec.shape], spec.dtype)
