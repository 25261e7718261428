"""From a stream to the device, read ahead in a thread; and the first samples."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import keras
import numpy as np

from miha.data.arrays import Data, map_arrays
from miha.data.blocks import joined, same_shapes
from miha.data.stream import Order, Part, Stream
from miha.data.text import is_text
from miha.errors import ArgumentError

Item = TypeVar("Item")

AHEAD = 2
"""How many parts are read ahead."""

MOST, LEAST = 256, 8
"""How many of the first samples are looked at, where there are as many."""

VALUES = 2**22
"""Most values that they have together, beyond the least: the whole network sees them."""


@dataclass(frozen=True)
class Fed:
    """Some consecutive steps of an epoch, on the device.

    Attributes:
        tensors: Their samples, as a step takes them; there may be more, which mean nothing.
        samples: How many there are.
        batch_size: Samples a step; the last one takes what is left.
    """

    tensors: Any
    samples: int
    batch_size: int


def fed(
    stream: Stream,
    batch_size: int,
    order: Order,
    shuffle: bool,
    is_padded: bool,
) -> Generator[Fed, None, None]:
    """Yield the parts of an epoch, brought to the device ahead; see `Stream.parts`.

    Args:
        stream: What is read.
        batch_size: Samples a step.
        order: See `Order`.
        shuffle: Whether to shuffle the samples.
        is_padded: Whether all parts get as many samples, more than the largest one has.
    """
    parts = stream.parts(batch_size, order, shuffle)
    ready = _to_device(parts, is_padded)
    return prefetched(ready) if stream.is_threaded else ready


def prefetched(
    items: Iterator[Item],
) -> Generator[Item, None, None]:
    """Yield items that a thread gets ahead; the thread ends when this is closed or exhausted.

    Args:
        items: The thread gets one at a time, in order. An error is raised in its item's place.
    """
    end: Any = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="miha-data")
    try:
        ahead = deque(pool.submit(next, items, end) for _ in range(AHEAD))
        # As soon as one is taken, the thread gets another one.
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, items, end))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _to_device(
    parts: Iterator[Part],
    is_padded: bool,
) -> Generator[Fed, None, None]:
    # The variable of a loop would keep a part in memory while the next one is read.
    yield from map(partial(_part_to_device, is_padded=is_padded), parts)


def _part_to_device(part: Part, is_padded: bool) -> Fed:
    missing = 0
    if is_padded:
        # One step more than the largest part has: XLA rounds a loop of a single step otherwise.
        missing = part.capacity + part.batch_size - part.data.samples

    def tensor(array: np.ndarray) -> Any:
        if missing:
            widths = [(0, 0)] * array.ndim
            widths[0] = (0, missing)
            array = np.pad(array, widths)
        return to_tensor(array)

    tensors = map_arrays(tensor, part.data.packed)
    return Fed(tensors, part.data.samples, part.batch_size)


def to_tensor(array: np.ndarray) -> Any:
    """Return an array as a tensor of the backend; only TensorFlow has tensors of text.

    Raises:
        ArgumentError: The array holds text, and the backend has none.
    """
    if not is_text(array):
        return keras.ops.convert_to_tensor(array)
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ArgumentError(
            "Only TensorFlow trains networks that are given text. Received: an array of dtype "
            f"{array.dtype} on the backend {backend!r}. Turn text into numbers "
            "first, with the network's `TextVectorization` or `StringLookup`, say."
        )
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def first_inputs(
    data: Data | Stream,
    batch_size: int,
    most: int = MOST,
) -> Any:
    """Return inputs of the first samples, on which an exchanged activation is fitted.

    They are the same of a stream as of arrays in memory.

    Args:
        data: The training data.
        batch_size: Samples that a stream is read by, at least.
        most: How many at most.
    """
    count = how_many(data.few().x, most)
    x = data.x if isinstance(data, Data) else _read_first(data, batch_size, count)
    return map_arrays(lambda array: array[:count], x)


def how_many(x: Any, most: int = MOST) -> int:
    """Return how many of the first samples to look at, by the shapes of some."""
    shapes = [array.shape[1:] for array in Data(x).arrays]
    values = sum(map(math.prod, shapes))
    count = VALUES // max(values, 1)
    return max(LEAST, min(most, count))


def _read_first(
    stream: Stream,
    batch_size: int,
    count: int,
) -> Any:
    """Return inputs of so many samples; of fewer where others have another shape."""
    found: list[Data] = []
    parts = stream.for_evaluation().parts(batch_size, None, False)
    with contextlib.closing(parts):
        for part in parts:
            taken = Data(part.data.take(slice(count)).x)
            if found and not same_shapes(found[0], taken):
                break
            found.append(taken)
            count -= taken.samples
            if count <= 0:
                break
    return joined(found).x
