"""What all data has in common that is read anew for each epoch."""

from __future__ import annotations

import abc
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.data.arrays import Data, check_finite, weigh_classes
from miha.errors import ArgumentError, MihaError

PART_BYTES = 16 * 2**20
"""What is read and brought to the device at once, at most: three parts are held at a time."""

PARTS = 32
"""In how many parts an epoch is read at least: the first one is waited for."""


@dataclass(frozen=True)
class Part:
    """Some consecutive steps of an epoch.

    Attributes:
        data: Their samples, in order.
        batch_size: Samples a step; the last one takes what is left.
        capacity: Most samples that a part of this epoch has.
    """

    data: Data
    batch_size: int
    capacity: int


def seed_of(order: np.random.Generator | None) -> int:
    """Return a seed for an epoch; what the generator draws is the same as without it.

    Args:
        order: The generator of the epoch's draws; None for what is the same each time.
    """
    return 0 if order is None else int(order.spawn(1)[0].integers(2**31))


class Stream(abc.ABC):
    """Samples that are read anew for each epoch.

    Attributes:
        name: What the user gave it as, for messages.
        samples: How many there are, at most.
        batch_size: Of the batches that it was given in, or None where it was given in none.
        rebatches: Whether it can be read in batches of any size.
        repeats: Whether it is the same samples in the same order when it is read again.
        is_threaded: Whether it is read ahead, in a thread of its own.
    """

    name: str
    samples: int
    batch_size: int | None = None
    rebatches: bool = True
    repeats: bool = True
    is_threaded: bool = True
    class_weight: Mapping[int, float] | None = None

    @abc.abstractmethod
    def few(self) -> Data:
        """Return the first samples, at most two."""

    @abc.abstractmethod
    def digest(self, sha: Any) -> None:
        """Update a checksum with what tells this data from other data.

        Raises:
            ArgumentError: A sample is not finite.
        """

    @abc.abstractmethod
    def _parts(
        self, batch_size: int, order: np.random.Generator | None, shuffle: bool
    ) -> Iterator[Part]:
        """Yield the parts of an epoch; see `parts`."""

    def for_evaluation(self) -> Stream:
        """Return the same samples, as they are read to evaluate on training data."""
        return self

    def parts(
        self, batch_size: int, order: np.random.Generator | None, shuffle: bool
    ) -> Generator[Part, None, None]:
        """Yield the parts of an epoch.

        Args:
            batch_size: Samples a step; ignored where the batches are the data's own.
            order: Every random draw of the epoch; None for what is the same each time.
            shuffle: Whether to shuffle the samples, where they do not shuffle themselves.

        Raises:
            MihaError: The data raised, gave no sample or one that is not finite.
        """
        found = 0
        try:
            for part in self._parts(batch_size, order, shuffle):
                found += part.data.samples
                checked = [Part(self._checked(part.data), part.batch_size, part.capacity)]
                del part  # Not held while it is trained on: a part may be large.
                yield checked.pop()
        except Exception as error:
            if isinstance(error, MihaError) and not isinstance(error, ArgumentError):
                raise
            raise MihaError(f"`{self.name}` raised while it was read: {error!r}.") from error
        if not found:
            raise MihaError(
                f"`{self.name}` must give its samples in each epoch. Received: none. An iterator "
                "can be read once only: give an object that returns a new one each time."
            )

    def _checked(self, data: Data) -> Data:
        check_finite(self.name, data)
        return data if self.class_weight is None else weigh_classes(data, self.class_weight)

    def _steps(self, batch_size: int, few: Data) -> int:
        """Return how many steps to read at once."""
        sample_bytes = sum(array.nbytes for array in few.arrays) / few.samples
        most = PART_BYTES // max(int(sample_bytes * batch_size), 1)
        return max(1, min(most, self.samples // batch_size // PARTS))
