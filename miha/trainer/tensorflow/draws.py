"""How a program of XLA draws numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import tensorflow as tf


@contextlib.contextmanager
def drawn_by_one_algorithm() -> Iterator[None]:
    """Let normal numbers that are traced meanwhile be drawn by Philox.

    Keras lets TensorFlow choose. The numbers are the same, but the operation by which TensorFlow
    then makes a key of the seed lets XLA take ten times as long for noise.

    Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    chosen_late = tf.random.stateless_normal
    tf.random.stateless_normal = partial(chosen_late, alg="philox")
    try:
        yield
    finally:
        tf.random.stateless_normal = chosen_late
