"""A choice of activations that XLA compiles in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Function = Callable[[Any], Any]


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
        branches = [_with_slope(function, values) for function in functions]
        outputs, slopes = tf.switch_case(tf.convert_to_tensor(index), branches)
        return outputs, lambda upstream: upstream * slopes

    return chosen(values)


def _with_slope(function: Function, values: Any) -> Callable[[], tuple[Any, Any]]:
    """Return what computes an elementwise function and its slope."""

    def branch() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = function(values)
        slopes = tape.gradient(outputs, values, unconnected_gradients="zero")
        return outputs, slopes

    return branch
