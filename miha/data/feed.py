"""From a stream to the device."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from miha.data.arrays import map_arrays
from miha.data.prefetch import prefetched
from miha.data.stream import Part, Stream
from miha.data.tensors import to_tensor


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
    order: np.random.Generator | None,
    shuffle: bool,
    is_padded: bool,
) -> Generator[Fed, None, None]:
    """Yield the parts of an epoch, brought to the device ahead; see `Stream.parts`.

    Args:
        stream: What is read.
        batch_size: Samples a step.
        order: Every random draw of the epoch, or None.
        shuffle: Whether to shuffle the samples.
        is_padded: Whether all parts shall have as many samples, more than the largest one.
    """
    parts = stream.parts(batch_size, order, shuffle)
    ready = _ready(parts, is_padded)
    return prefetched(ready) if stream.is_threaded else ready


def _ready(parts: Iterator[Part], is_padded: bool) -> Generator[Fed, None, None]:
    # Not a loop: its variable would hold a part for as long as the next one is read.
    yield from map(partial(_to_device, is_padded=is_padded), parts)


def _to_device(part: Part, is_padded: bool) -> Fed:
    # Room for one step more than there is: XLA rounds a loop of a single step otherwise.
    missing = part.capacity + part.batch_size - part.data.samples if is_padded else 0
    return Fed(_tensors(part, missing), part.data.samples, part.batch_size)


def _tensors(part: Part, missing: int) -> Any:
    def tensor(array: np.ndarray) -> Any:
        if missing:
            array = np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
        return to_tensor(array)

    return map_arrays(tensor, part.data.packed)
