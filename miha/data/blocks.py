"""Cutting, joining and shuffling samples that come in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from miha.data.arrays import Data, as_array, check_lengths, map_arrays
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
    batch = tuple(batch) if isinstance(batch, list) else batch
    if isinstance(batch, tuple) and not 1 <= len(batch) <= 3:
        raise ArgumentError(
            f"Each batch of `{name}` must be x, (x, y) or (x, y, sample_weight). "
            f"Received: a tuple of {len(batch)} parts. Put several inputs into a tuple of their "
            "own: ((a, b), y)."
        )
    parts = keras.utils.unpack_x_y_sample_weight(batch)
    data = Data(*(map_arrays(_to_array, part) for part in parts))
    check_lengths(name, data)
    return data


def _to_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # A tensor of PyTorch's may be on a GPU.
        values = values.detach().cpu()
    return as_array(values)


def same_shapes(first: Data, second: Data) -> bool:
    """Tell whether the samples of two blocks can be joined."""
    shapes = [[(a.shape[1:], a.dtype) for a in data.arrays] for data in (first, second)]
    return shapes[0] == shapes[1]


def is_same(first: Sequence[Data], second: Sequence[Data]) -> bool:
    """Tell whether two lists of blocks hold the same values."""
    arrays = [[a for block in blocks for a in block.arrays] for blocks in (first, second)]
    return len(arrays[0]) == len(arrays[1]) and all(map(np.array_equal, *arrays))


def joined(blocks: Sequence[Data]) -> Data:
    """Return the samples of several blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    if not all(same_shapes(blocks[0], block) for block in blocks):
        shapes = [[a.shape for a in block.arrays] for block in blocks]
        raise ArgumentError(
            "Samples must all have one shape, or they cannot be put into batches of another size. "
            f"Received blocks of shapes: {shapes[:4]}. Pad them to one shape."
        )
    flat = [keras.tree.flatten((b.x, b.y, b.sample_weight)) for b in blocks]
    arrays = [None if a[0] is None else np.concatenate(a) for a in zip(*flat, strict=True)]
    first = blocks[0]
    return Data(*keras.tree.pack_sequence_as((first.x, first.y, first.sample_weight), arrays))


def cut(blocks: Iterable[Data], size: int) -> Iterator[Data]:
    """Yield the same samples in blocks of another size; the last one may be smaller."""
    held: list[Data] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.samples
        if count >= size:
            whole, all_held = count - count % size, joined(held)
            for start in range(0, whole, size):
                yield all_held.take(slice(start, start + size))
            held, count = [all_held.take(slice(whole, None))], count - whole
    if count:
        yield joined(held)


def shuffled(blocks: Iterable[Data], capacity: int, rng: np.random.Generator) -> Iterator[Data]:
    """Yield samples in another order, drawn from a buffer as they come.

    Where the buffer holds them all, it is `rng.permutation`: the order in which arrays are
    trained on.

    Args:
        blocks: Samples.
        capacity: Samples that the buffer holds, at least.
        rng: Draws the order.
    """
    blocks, filling, count = iter(blocks), list[Data](), 0
    for block in blocks:
        filling.append(block)
        count += block.samples
        if count >= capacity:
            break
    if not count:
        return
    buffer = _owned(filling)
    for block in blocks:
        if block.samples > count or not same_shapes(buffer, block):
            buffer = _owned([buffer, block])
            count = buffer.samples
            continue
        places = rng.permutation(count)[: block.samples]
        yield buffer.take(places)
        for held, new in zip(buffer.arrays, block.arrays, strict=True):
            held[places] = new
    order, size = rng.permutation(np.arange(count)), max(count // 32, 1)
    for start in range(0, count, size):
        yield buffer.take(order[start : start + size])


def _owned(blocks: Sequence[Data]) -> Data:
    """Return blocks as one that may be written to."""
    return joined([blocks[0].take(slice(0)), *blocks])


def grouped(batches: Iterable[Data], steps: int) -> Iterator[Part]:
    """Yield batches in parts of equal batches, of which the last one may be smaller."""
    group: list[Data] = []
    for batch in batches:
        if group and not (len(group) < steps and _joins(group, batch)):
            yield _part(group, steps)
            group = []
        group.append(batch)
    if group:
        yield _part(group, steps)


def _joins(group: Sequence[Data], batch: Data) -> bool:
    are_equal = group[0].samples == group[-1].samples >= batch.samples
    return are_equal and same_shapes(group[0], batch)


def _part(group: Sequence[Data], steps: int) -> Part:
    size = group[0].samples
    return Part(joined(group), size, size * steps)
