"""Batches that come one after another, and cannot be asked for by place."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from miha.data.arrays import Data, check_finite, digest_shape, weigh_classes
from miha.data.blocks import cut, grouped, is_same, same_shapes, shuffled
from miha.data.stream import Part, Stream, seed_of
from miha.errors import ArgumentError
from miha.utils.warn import warn

BUFFER_SAMPLES, BUFFER_BYTES = 10_000, 128 * 2**20
"""What the buffer that shuffles holds at most."""

LOOKED_AT = 2
"""Batches that are read, twice, to learn what they are and whether they stay the same."""


class Iterated(Stream):
    """Batches that come one after another.

    Args:
        name: What the user gave them as.
        length: How many batches there are.
        class_weight: Weight of each class in the loss, or None.
        own_batches: Whether the batches must stay as they are.

    Raises:
        ArgumentError: A batch is not what it must be.
    """

    kind: str
    """What it is, for messages."""

    draws_itself = False
    """Whether its order is its own, drawn from a seed that it is given."""

    def __init__(
        self,
        name: str,
        length: int,
        class_weight: Mapping[int, float] | None = None,
        own_batches: bool = False,
    ) -> None:
        self.name, self.class_weight = name, class_weight
        self._first = self._peek()
        if not self._first:
            raise ArgumentError(
                f"`{name}` must hold at least one batch. Received: {self.kind} that gave none. "
                "Check how it is made."
            )
        self._check()
        self.batch_size = self._first[0].samples
        self.samples = length * self.batch_size
        self.rebatches = not own_batches and same_shapes(self._first[0], self._first[-1])
        self.repeats = is_same(self._first, self._peek())
        self._warn()

    @abc.abstractmethod
    def _batches(self, size: int | None, seed: int, shuffle: bool) -> Iterator[Data]:
        """Yield the batches of an epoch.

        Args:
            size: Samples in each, where that can be chosen; None: its own.
            seed: Decides every draw.
            shuffle: Whether to shuffle, where this does it by itself.
        """

    def few(self) -> Data:
        """See `Stream`."""
        few = self._first[0].few()
        return few if self.class_weight is None else weigh_classes(few, self.class_weight)

    def digest(self, sha: Any) -> None:
        """See `Stream`: kind and length and, where they stay the same, the first batches."""
        sha.update(f"{self.kind} {self.samples}".encode())
        for batch in self._first:
            for array in batch.arrays:
                digest_shape(sha, array.shape[1:], array.dtype)
                if self.repeats:
                    sha.update(array.tobytes())

    def _peek(self) -> list[Data]:
        return list(islice(self._batches(None, 0, False), LOOKED_AT))

    def _check(self) -> None:
        for batch in self._first:
            check_finite(self.name, batch)
            if self.class_weight is not None:
                weigh_classes(batch, self.class_weight)

    def _warn(self) -> None:
        if not self.repeats:
            warn(
                f"`{self.name}` is {self.kind} that gives other samples, or another order, each "
                "time it is read: the clones of a cycle are not compared on the same samples, and "
                "an interrupted run does not end with the same bits. Leave its shuffling to MIHA, "
                "or give `miha.Batches(function, length)`, whose function takes a seed."
            )

    def _parts(
        self, batch_size: int, order: np.random.Generator | None, shuffle: bool
    ) -> Iterator[Part]:
        if self.rebatches:
            yield from self._cut(batch_size, order, shuffle)
        else:
            batches = self._batches(None, seed_of(order), shuffle and order is not None)
            size = self._first[0].samples
            yield from grouped(batches, self._steps(size, self._first[0]))

    def _cut(
        self, batch_size: int, order: np.random.Generator | None, shuffle: bool
    ) -> Iterator[Part]:
        """Yield parts of steps of another batch size."""
        size = batch_size * self._steps(batch_size, self._first[0])
        shuffles_here = shuffle and order is not None and self.repeats and not self.draws_itself
        blocks = self._batches(size, seed_of(order), shuffle)
        if shuffles_here and order is not None:
            blocks = shuffled(blocks, self._buffer, order)
        for block in cut(blocks, size):
            yield Part(block, batch_size, size)

    @property
    def _buffer(self) -> int:
        """Samples that the buffer holds that shuffles."""
        few = self._first[0]
        sample_bytes = sum(array.nbytes for array in few.arrays) / few.samples
        return max(1, min(BUFFER_SAMPLES, int(BUFFER_BYTES / max(sample_bytes, 1))))
