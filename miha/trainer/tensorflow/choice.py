"""A choice of activations that TensorFlow traces, and XLA compiles, quickly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Function = Callable[[Any], Any]


def choose(
    index: Any,
    functions: Sequence[Function],
    values: Any,
) -> Any:
    """Apply the elementwise function of an index.

    The values and gradients are the function's own, bit for bit, but where TensorFlow rewrites a
    graph and rounds otherwise, as it does gelu. There are no second derivatives.

    A conditional with a dozen branches takes as long to trace as the rest of a small network. It
    is traced once for all layers and optimizers, and again for the gradient, which computes the
    function anew in place of keeping what each branch may need.

    Args:
        index: Place of the function, as a tensor or a variable.
        functions: What there is to choose from.
        values: Of any shape.

    Returns:
        A tensor of the shape of the values.
    """
    # A function of the user's may have variables, of which this gradient knows nothing.
    is_shared = all(map(_is_of_keras, functions)) and values.shape.rank is not None
    if tf.executing_eagerly() or not is_shared:
        return keras.ops.switch(index, functions, values)
    forward, backward = _traced_once(tuple(functions), values.dtype, values.shape.rank)

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types.
    def chosen(values: Any) -> tuple[Any, Function]:
        def derive(upstream: Any) -> Any:
            slopes = backward(index, values, upstream)
            return tf.ensure_shape(slopes, values.shape)

        outputs = forward(index, values)
        return tf.ensure_shape(outputs, values.shape), derive

    return chosen(values)


@functools.cache
def _traced_once(
    functions: tuple[Function, ...],
    dtype: tf.DType,
    rank: int,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a choice among functions, and its gradient, for any shape of a rank."""
    place = tf.TensorSpec((), tf.int32)
    shape = tf.TensorSpec([None] * rank, dtype)

    def forward(index: Any, values: Any) -> Any:
        branches = [functools.partial(function, values) for function in functions]
        return tf.switch_case(index, branches)

    def backward(index: Any, values: Any, upstream: Any) -> Any:
        def slopes_of(function: Function) -> Any:
            return _applied(function, values, upstream)[1]

        branches = [functools.partial(slopes_of, function) for function in functions]
        return tf.switch_case(index, branches)

    return (
        tf.function(forward, (place, shape), autograph=False),
        tf.function(backward, (place, shape, shape), autograph=False),
    )


def choose_with_slope(
    index: Any,
    functions: Sequence[Function],
    values: Any,
) -> Any:
    """Apply the elementwise function of an index; its slope is computed on the way forward.

    The gradient of a conditional is another conditional, which XLA takes ten times as long to
    compile. Elementwise functions need none: the gradient is the slope times what comes back. It
    rounds otherwise than the functions' own, and has no second derivative.

    Args:
        index: Place of the function, as a tensor or a variable.
        functions: What there is to choose from.
        values: Of any shape.

    Returns:
        A tensor of the shape of the values.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types.
    def chosen(values: Any) -> tuple[Any, Function]:
        branches = [functools.partial(_applied, function, values) for function in functions]
        outputs, slopes = tf.switch_case(tf.convert_to_tensor(index), branches)
        return outputs, lambda upstream: upstream * slopes

    return chosen(values)


def _applied(
    function: Function,
    values: Any,
    upstream: Any = None,
) -> tuple[Any, Any]:
    """Return an elementwise function's outputs and slope, times what comes back if given."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = function(values)
    slopes = tape.gradient(outputs, values, upstream, unconnected_gradients="zero")
    return outputs, slopes


def _is_of_keras(function: Function) -> bool:
    name = getattr(function, "__name__", "")
    return getattr(keras.activations, name, None) is function
