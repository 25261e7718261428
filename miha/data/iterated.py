"""Batches that come one after another: iterables, `miha.Batches`, and the base of all others."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from itertools import islice
from typing import Any

from miha.data import arrays
from miha.data.arrays import Data, digest_shape
from miha.data.batches import Batches
from miha.data.blocks import as_data, cut, grouped, is_same, same_shapes, shuffled
from miha.data.stream import Order, Part, Rules, Stream, bytes_of_sample, seed_of
from miha.data.text import bytes_of
from miha.errors import ArgumentError
from miha.utils.warn import warn

BUFFER_SAMPLES = 10_000
BUFFER_BYTES = 128 * 2**20
"""What the buffer that shuffles holds at most."""

LOOKED_AT = 2
"""Batches that are read, twice, to learn what they are and whether they stay the same."""


class Iterated(Stream):
    """Batches that come one after another.

    Args:
        name: The argument that the user gave them as.
        length: How many batches there are.
        rules: What is asked of the samples and done with them.
        own_batches: Whether the batches must stay as they are.

    Raises:
        ArgumentError: A batch is not what it must be.
    """

    kind: str
    """What it is, for messages."""

    draws_order = False
    """Whether it draws its order from a seed."""

    def __init__(
        self,
        name: str,
        length: int,
        rules: Rules,
        own_batches: bool = False,
    ) -> None:
        self.name = name
        self.rules = rules
        self._first = self._peek()
        if not self._first:
            raise ArgumentError(
                f"`{name}` must hold at least one batch. Received: {self.kind} that gave none. "
                "Check how it is made."
            )
        for batch in self._first:
            self._checked(batch)

        first = self._first[0]
        self.batch_size = first.samples
        self.samples = length * first.samples
        self.rebatches = not own_batches and same_shapes(first, self._first[-1])
        self.repeats = is_same(self._first, self._peek())
        self._warn()

    @abc.abstractmethod
    def _batches(
        self,
        size: int | None,
        seed: int,
        shuffle: bool,
    ) -> Iterator[Data]:
        """Yield the batches of an epoch.

        Args:
            size: Samples in each, where that can be chosen; None: its own.
            seed: Decides every draw.
            shuffle: Whether to shuffle, where this does it by itself.
        """

    def few(self) -> Data:
        """See `Stream`."""
        return self._weighed(self._first[0].few())

    def blocks(self, part: arrays.Part) -> Iterator[Any]:
        """See `Stream`: those of the first batches."""
        for batch in self._first:
            yield getattr(batch, part)

    def digest(self, sha: Any) -> None:
        """See `Stream`: kind and length and, where they stay the same, the first batches."""
        sha.update(f"{self.kind} {self.samples}".encode())
        for batch in self._first:
            for array in batch.arrays:
                digest_shape(sha, array.shape[1:], array.dtype)
                if self.repeats:
                    sha.update(bytes_of(array))

    def _peek(self) -> list[Data]:
        batches = self._batches(None, 0, False)
        return list(islice(batches, LOOKED_AT))

    def _warn(self) -> None:
        if not self.repeats:
            warn(
                f"`{self.name}` is {self.kind} that gives other samples, or another order, each "
                "time it is read: the clones of a cycle are not compared on the same samples, and "
                "an interrupted run does not end with the same bits. Leave its shuffling to MIHA, "
                "or give `miha.Batches(function, length)`, whose function takes a seed."
            )

    def _parts(
        self,
        batch_size: int,
        order: Order,
        shuffle: bool,
    ) -> Iterator[Part]:
        first = self._first[0]
        if self.rebatches:
            size = batch_size * self._steps(batch_size, first)
            for block in cut(self._blocks(size, order, shuffle), size):
                yield Part(block, batch_size, size)
        else:
            should_shuffle = shuffle and order is not None
            batches = self._batches(None, seed_of(order), should_shuffle)
            yield from grouped(batches, self._steps(first.samples, first))

    def _blocks(
        self,
        size: int,
        order: Order,
        shuffle: bool,
    ) -> Iterator[Data]:
        """Return the samples of an epoch, shuffled where the source does not do it."""
        blocks = self._batches(size, seed_of(order), shuffle)
        if order is None or not shuffle or not self.repeats or self.draws_order:
            return blocks
        sample_bytes = bytes_of_sample(self._first[0])
        fitting = int(BUFFER_BYTES / max(sample_bytes, 1))
        capacity = max(1, min(BUFFER_SAMPLES, fitting))
        return shuffled(blocks, capacity, order)


class Iterable(Iterated):
    """Batches of an object that can be iterated again and again.

    Args:
        name: The argument that the user gave it as.
        source: The object.
        rules: What is asked of the samples and done with them.

    Raises:
        ArgumentError: It can be iterated once only, or has no length, or a batch is wrong.
    """

    def __init__(
        self,
        name: str,
        source: Any,
        rules: Rules,
    ) -> None:
        self.kind = f"a {type(source).__name__}"
        self.draws_order = isinstance(source, Batches) and source.takes_seed
        self._source = source
        self._is_short = False
        if not hasattr(source, "__len__"):
            raise ArgumentError(
                f"`{name}` must have a length: MIHA has to know when an epoch ends. "
                f"Received: {type(source)}, which has no `__len__`. Write one that returns the "
                "number of batches, or give `miha.Batches(function, length)`."
            )
        if self._begin(0) is source:
            raise ArgumentError(
                f"`{name}` is read in every epoch of every clone. Received: {type(source)}, which "
                "can be read once only. Give `miha.Batches(function, length)`, whose function "
                "returns a new iterator each time."
            )
        super().__init__(name, len(source), rules)

    def _begin(self, seed: int) -> Iterator[Any]:
        if isinstance(self._source, Batches):
            return self._source.begin(seed)
        return iter(self._source)

    def _batches(
        self,
        size: int | None,
        seed: int,
        shuffle: bool,
    ) -> Iterator[Data]:
        # An iterable may give more batches than its length says.
        length = len(self._source)
        count = 0
        for batch in islice(self._begin(seed), length):
            yield as_data(self.name, batch)
            count += 1
        if 0 < count < length and not self._is_short:
            self._is_short = True
            warn(
                f"`{self.name}` is {self.kind} of length {length} that gave {count} batches: an "
                f"epoch ends there. Let its length be {count}, or let it give more."
            )
