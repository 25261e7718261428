"""Draws by XLA: the algorithm is named, since the one that TensorFlow chooses is slow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import tensorflow as tf

ALGORITHM = "threefry"
"""The counter-based generator that JAX draws by, too: XLA computes it fastest on a CPU."""

_DRAWS: tuple[tuple[Any, str, str], ...] = (
    (tf.random, "stateless_normal", "alg"),
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
    try:
        for (module, name, argument), draw in zip(_DRAWS, chosen_late, strict=True):
            setattr(module, name, partial(draw, **{argument: ALGORITHM}))
        yield
    finally:
        for (module, name, _), draw in zip(_DRAWS, chosen_late, strict=True):
            setattr(module, name, draw)
