"""Draws by XLA: by the ways that it computes fast, where those of TensorFlow are slow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

ALGORITHM = "threefry"
"""The counter-based generator that JAX draws by, too: XLA computes it fastest on a CPU."""

_CENTRE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAILS = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)
"""Coefficients of the inverse error function over x, the highest power first."""

_DRAWS: tuple[tuple[Any, str, str], ...] = (
    (tf.random, "stateless_uniform", "alg"),
    (tf.random, "stateless_truncated_normal", "alg"),
    (tf.nn.experimental, "stateless_dropout", "rng_alg"),
)
"""Where what draws is found, its name, and its argument for the algorithm."""


@contextlib.contextmanager
def drawn_by_one_algorithm() -> Iterator[None]:
    """Let what is traced meanwhile draw by Threefry.

    Keras lets TensorFlow choose. It does so at run time, anew for each number as it seems: noise
    takes ten times as long, and dropout fifty times. Other numbers are drawn, of the same kind.

    Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    chosen_late = [getattr(module, name) for module, name, _ in _DRAWS]
    normal_of_tensorflow = tf.random.stateless_normal
    try:
        tf.random.stateless_normal = normal
        for (module, name, argument), draw in zip(_DRAWS, chosen_late, strict=True):
            setattr(module, name, partial(draw, **{argument: ALGORITHM}))
        yield
    finally:
        for (module, name, _), draw in zip(_DRAWS, chosen_late, strict=True):
            setattr(module, name, draw)
        tf.random.stateless_normal = normal_of_tensorflow


def normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = tf.float32,
) -> Any:
    """Draw from a normal distribution, as `tf.random.stateless_normal` with these arguments.

    TensorFlow takes the inverse error function of uniform draws, too. XLA selects between the
    centre and the tails for each coefficient of its polynomial, which takes three times as long
    as to compute both.

    Args:
        shape: Of what is returned.
        seed: Two integers.
        mean: The mean.
        stddev: The standard deviation.
        dtype: A type of floats; drawn in 32 bits.

    Returns:
        The draws.
    """
    # -1 itself is infinitely far away.
    lowest = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = tf.random.stateless_uniform(shape, seed, lowest, 1.0, alg=ALGORITHM)
    drawn = np.float32(np.sqrt(2.0)) * inverse_error_function(uniform)
    drawn = tf.cast(drawn, dtype)
    stddev = tf.cast(stddev, dtype)
    mean = tf.cast(mean, dtype)
    return stddev * drawn + mean


def inverse_error_function(x: Any) -> Any:
    """Return the inverse of the error function.

    Source: M. Giles, "Approximating the erfinv function" (2012), single precision.

    Args:
        x: Floats of 32 bits, above -1 and below 1.

    Returns:
        Values in the shape of ``x``.
    """
    # 1 - x is exact where x is near 1, which 1 - x * x is not.
    logarithm = -tf.math.log((1.0 - x) * (1.0 + x))
    centre = tf.math.polyval(list(_CENTRE), logarithm - 2.5)
    tails = tf.math.polyval(list(_TAILS), tf.sqrt(logarithm) - 3.0)
    return x * tf.where(logarithm < 5.0, centre, tails)
