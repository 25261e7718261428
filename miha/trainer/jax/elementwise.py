"""The choice of an elementwise activation in JAX, cheap to differentiate and to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp


def choose(index: Any, functions: Sequence[Callable[[Any], Any]], values: Any) -> Any:
    """Apply the chosen one of some elementwise functions, as `keras.ops.switch` would.

    `lax.switch` keeps what the derivative of any branch may need; this keeps the input alone.
    Under `jax.vmap` it becomes a selection among the values of all branches, in whose derivative
    zero times an infinite one is not a number; here the derivative is selected before it is
    multiplied, so that only the chosen branch counts.

    Args:
        index: Place of the function.
        functions: Elementwise functions.
        values: What to apply it to.
    """

    def apply(index: Any, values: Any) -> Any:
        return lax.switch(index, functions, values)

    def derive(primals: Any, tangents: Any) -> Any:
        index, values = primals
        slope = lax.switch(index, [_slope_of(function) for function in functions], values)
        return chosen(index, values), slope * tangents[1]

    chosen = jax.custom_jvp(apply)
    chosen.defjvp(derive)
    return chosen(index, jnp.asarray(values))


def _slope_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def slope(values: Any) -> Any:
        # Backward, since a function with a gradient of its own may have no other derivative.
        result, backward = jax.vjp(function, values)
        return backward(jnp.ones_like(result))[0]

    return slope
