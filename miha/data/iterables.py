"""Iterables of batches that have a length, and `miha.Batches`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from miha.data.arrays import Data
from miha.data.batches import Batches
from miha.data.blocks import as_data
from miha.data.iterated import Iterated
from miha.errors import ArgumentError


class Iterable(Iterated):
    """Batches of an object that can be iterated again and again.

    Args:
        name: What the user gave it as.
        source: The object.
        class_weight: Weight of each class in the loss, or None.

    Raises:
        ArgumentError: It can be iterated once only, or has no length, or a batch is wrong.
    """

    def __init__(
        self, name: str, source: Any, class_weight: Mapping[int, float] | None = None
    ) -> None:
        self.kind = f"a {type(source).__name__}"
        self._source = source
        self.draws_itself = isinstance(source, Batches) and source.takes_seed
        _check(name, source)
        super().__init__(name, len(source), class_weight)

    def _batches(self, size: int | None, seed: int, shuffle: bool) -> Iterator[Data]:
        source = self._source
        batches = source.begin(seed) if isinstance(source, Batches) else iter(source)
        for batch in islice(batches, len(source)):
            yield as_data(self.name, batch)


def _check(name: str, source: Any) -> None:
    if not hasattr(source, "__len__"):
        raise ArgumentError(
            f"`{name}` must have a length: MIHA has to know when an epoch ends. "
            f"Received: {type(source)}, which has no `__len__`. Write one that returns the number "
            "of batches, or give `miha.Batches(function, length)`."
        )
    begun = source.begin(0) if isinstance(source, Batches) else iter(source)
    if begun is source:
        raise ArgumentError(
            f"`{name}` is read in every epoch of every clone. Received: {type(source)}, which can "
            "be read once only. Give `miha.Batches(function, length)`, whose function returns a "
            "new iterator each time."
        )
