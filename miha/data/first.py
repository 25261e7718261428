"""The first samples of the training data: an exchanged activation is fitted on them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import keras

from miha.data.arrays import Data, map_arrays
from miha.data.blocks import joined, same_shapes
from miha.data.stream import Stream

MOST, LEAST = 256, 8
"""How many samples, where there are as many."""

VALUES = 2**22
"""How many values they hold together at most, beyond the least: the whole network sees them."""


def first_inputs(data: Data | Stream, batch_size: int) -> Any:
    """Return inputs of the first samples: the same of a stream as of arrays in memory.

    Args:
        data: The training data.
        batch_size: Samples that a stream is read by, at least.
    """
    count = how_many(data.few().x)
    x = _read(data, batch_size, count) if isinstance(data, Stream) else data.x
    return map_arrays(lambda array: array[:count], x)


def how_many(x: Any) -> int:
    """Return how many samples are looked at, by the shapes of some."""
    shapes = [array.shape[1:] for array in keras.tree.flatten(x) if array is not None]
    return max(LEAST, min(MOST, VALUES // max(sum(map(math.prod, shapes)), 1)))


def _read(stream: Stream, batch_size: int, count: int) -> Any:
    """Return inputs of so many samples; of fewer where others have another shape."""
    found: list[Data] = []
    with contextlib.closing(stream.for_evaluation().parts(batch_size, None, False)) as parts:
        for part in parts:
            taken = Data(part.data.take(slice(count)).x)
            if found and not same_shapes(found[0], taken):
                break
            found.append(taken)
            count -= taken.samples
            if count <= 0:
                break
    return joined(found).x
