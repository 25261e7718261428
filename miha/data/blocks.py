"""Cutting, joining and shuffling samples that come in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from miha.data.arrays import Data, as_array, check_lengths
from miha.data.stream import Part
from miha.errors import ArgumentError


def as_data(name: str, batch: Any) -> Data:
    """Return a batch as it is given to `fit` as arrays.

    Args:
        name: Where it comes from.
        batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, of arrays or tensors.

    Raises:
        ArgumentError: It is none of these.
    """
    if isinstance(batch, list):
        batch = tuple(batch)
    if isinstance(batch, tuple) and not 1 <= len(batch) <= 3:
        raise ArgumentError(
            f"Each batch of `{name}` must be x, (x, y) or (x, y, sample_weight). "
            f"Received: a tuple of {len(batch)} parts. Put several inputs into a tuple of their "
            "own: ((a, b), y)."
        )
    parts = keras.utils.unpack_x_y_sample_weight(batch)
    data = Data(*parts).map(_to_array)
    check_lengths(name, data)
    return data


def _to_array(values: Any) -> np.ndarray:
    # A tensor of PyTorch may be on a GPU.
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return as_array(values)


def same_shapes(first: Data, second: Data) -> bool:
    """Return whether the samples of two blocks can be joined."""
    return _sample_shapes(first) == _sample_shapes(second)


def _sample_shapes(
    data: Data,
) -> list[tuple[Any, ...]]:
    return [(array.shape[1:], array.dtype) for array in data.arrays]


def is_same(
    first: Sequence[Data],
    second: Sequence[Data],
) -> bool:
    """Return whether two lists of blocks hold the same values."""
    ours = [array for block in first for array in block.arrays]
    theirs = [array for block in second for array in block.arrays]
    if len(ours) != len(theirs):
        return False
    return all(map(_is_equal, ours, theirs))


def _is_equal(
    first: np.ndarray,
    second: np.ndarray,
) -> bool:
    # What is missing in one is missing in the other; only floats can be.
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def joined(blocks: Sequence[Data]) -> Data:
    """Return the samples of several blocks as one."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if not all(same_shapes(first, block) for block in blocks):
        shapes = [[a.shape for a in block.arrays] for block in blocks]
        raise ArgumentError(
            "Samples must all have one shape, or they cannot be put into batches of another size. "
            f"Received blocks of shapes: {shapes[:4]}. Pad them to one shape."
        )
    parts = [block.parts for block in blocks]
    return Data(*keras.tree.map_structure(_concatenated, *parts))


def _concatenated(
    *arrays: np.ndarray | None,
) -> np.ndarray | None:
    # Targets and weights need not be there.
    given = [array for array in arrays if array is not None]
    return np.concatenate(given) if given else None


def cut(
    blocks: Iterable[Data],
    size: int,
) -> Iterator[Data]:
    """Yield the same samples in blocks of another size; the last one may be smaller."""
    waiting: list[Data] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += block.samples
        if count < size:
            continue
        # Joined once for many cuts: each copies all that waits.
        data = joined(waiting)
        border = count - count % size
        for start in range(0, border, size):
            yield data.take(slice(start, start + size))
        waiting = [data.take(slice(border, None))]
        count -= border
    if count:
        yield joined(waiting)


def shuffled(
    blocks: Iterable[Data],
    capacity: int,
    rng: np.random.Generator,
) -> Iterator[Data]:
    """Yield samples in another order, drawn from a buffer as they come.

    If the buffer holds all samples, the order is that of `rng.permutation`, as for arrays.

    Args:
        blocks: Samples.
        capacity: Samples that the buffer holds, at least.
        rng: Draws the order.
    """
    blocks = iter(blocks)
    first = _first_blocks(blocks, capacity)
    if not first:
        return
    buffer = _writable(first)

    # What comes takes the places of what leaves.
    for block in blocks:
        if block.samples > buffer.samples or not same_shapes(buffer, block):
            buffer = _writable([buffer, block])
            continue
        places = rng.permutation(buffer.samples)[: block.samples]
        yield buffer.take(places)
        pairs = zip(buffer.arrays, block.arrays, strict=True)
        for kept, new in pairs:
            kept[places] = new

    count = buffer.samples
    order = rng.permutation(np.arange(count))
    size = max(count // 32, 1)
    for start in range(0, count, size):
        yield buffer.take(order[start : start + size])


def _first_blocks(
    blocks: Iterator[Data],
    capacity: int,
) -> list[Data]:
    found: list[Data] = []
    count = 0
    for block in blocks:
        found.append(block)
        count += block.samples
        if count >= capacity:
            break
    return found


def _writable(blocks: Sequence[Data]) -> Data:
    """Return a copy of blocks as one; a single block would not be copied without the empty one."""
    empty = blocks[0].take(slice(0))
    return joined([empty, *blocks])


def grouped(
    batches: Iterable[Data],
    steps: int,
) -> Iterator[Part]:
    """Yield batches in parts of equal batches, of which the last one may be smaller."""
    group: list[Data] = []
    for batch in batches:
        is_full = len(group) == steps
        if group and (is_full or not _belongs_to(group, batch)):
            yield _part(group, steps)
            group = []
        group.append(batch)
    if group:
        yield _part(group, steps)


def _belongs_to(
    group: Sequence[Data],
    batch: Data,
) -> bool:
    first = group[0]
    # Only the last batch of a part may be smaller.
    are_equal = first.samples == group[-1].samples
    return are_equal and first.samples >= batch.samples and same_shapes(first, batch)


def _part(
    group: Sequence[Data],
    steps: int,
) -> Part:
    size = group[0].samples
    return Part(joined(group), size, size * steps)
