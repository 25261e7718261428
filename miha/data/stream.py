"""What all data has in common that is read again for each epoch."""

from __future__ import annotations

import abc
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from miha.data import arrays
from miha.data.arrays import Data, check_finite, weigh_classes
from miha.errors import ArgumentError, MihaError

PART_BYTES = 16 * 2**20
"""What is read and brought to the device at once, at most: memory holds three parts."""

PARTS = 32
"""In how many parts an epoch is read at least: training waits for the first one."""

Order = np.random.Generator | None
"""Every random draw of an epoch; None for what is the same each time."""

ClassWeight = Mapping[int, float] | None


@dataclass(frozen=True)
class Rules:
    """What is asked of samples and done with them before they are trained on.

    Attributes:
        class_weight: Weight of each class in the loss, or None.
        must_be_finite: Whether a value that is NaN or infinite is refused.
    """

    class_weight: ClassWeight = None
    must_be_finite: bool = True


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


def seed_of(order: Order) -> int:
    """Return a seed for an epoch; what the generator draws later is the same as without it."""
    if order is None:
        return 0
    [child] = order.spawn(1)
    return int(child.integers(2**31))


class Stream(abc.ABC):
    """Samples that are read again for each epoch.

    Attributes:
        name: The argument that the user gave it as, for messages.
        samples: How many there are, at most.
        batch_size: Of the batches that the user gave; None if the samples are in no batches.
        rebatches: Whether it can be read in batches of any size.
        repeats: Whether each epoch has the same samples in the same order.
        is_threaded: Whether a thread reads it ahead.
        rules: What is asked of the samples and done with them.
        has_labels_per_step: Whether classes are weighed that differ within a sample, as in `fit`.
        watch: Raises `ArgumentError` at samples that the network cannot take, or None. It is called
            with those of each part before they are trained on.
    """

    name: str
    samples: int
    batch_size: int | None = None
    rebatches: bool = True
    repeats: bool = True
    is_threaded: bool = True
    rules: Rules = Rules()
    has_labels_per_step: bool = False
    watch: Callable[[Data], None] | None = None

    @abc.abstractmethod
    def few(self) -> Data:
        """Return the first samples, at most two."""

    @abc.abstractmethod
    def digest(self, sha: Any) -> None:
        """Update a checksum with what distinguishes this data from other data.

        Raises:
            ArgumentError: A sample is not finite.
        """

    @abc.abstractmethod
    def _parts(
        self,
        batch_size: int,
        order: Order,
        shuffle: bool,
    ) -> Iterator[Part]:
        """Yield the parts of an epoch; see `parts`."""

    def blocks(self, part: arrays.Part) -> Iterator[Any]:
        """Yield inputs or targets that can be looked at before training, some at a time."""
        yield getattr(self.few(), part)

    def for_evaluation(self) -> Stream:
        """Return the same samples, as they are read to evaluate on training data."""
        return self

    def parts(
        self,
        batch_size: int,
        order: Order,
        shuffle: bool,
    ) -> Generator[Part, None, None]:
        """Yield the parts of an epoch.

        Args:
            batch_size: Samples a step; ignored where the batches are the data's own.
            order: Every random draw of the epoch; None for what is the same each time.
            shuffle: Whether to shuffle the samples, where they do not shuffle themselves.

        Raises:
            MihaError: The data raised, or gave no sample, or one that cannot be trained on.
        """
        count = 0
        try:
            for part in self._parts(batch_size, order, shuffle):
                count += part.data.samples
                checked = [replace(part, data=self._checked(part.data))]
                # A part may be large: no name keeps it in memory while it is trained on.
                del part
                yield checked.pop()
        except ArgumentError as error:
            raise MihaError(
                f"{error} What was trained before is kept: with `{self.name}` mended, the same "
                "script goes on."
            ) from error
        except MihaError:
            raise
        except Exception as error:
            raise MihaError(f"`{self.name}` raised while it was read: {error!r}.") from error
        if not count:
            raise MihaError(
                f"`{self.name}` must give its samples in each epoch. Received: none. An iterator "
                "can be read once only: give an object that returns a new one each time."
            )

    def _checked(self, data: Data) -> Data:
        if self.rules.must_be_finite:
            check_finite(self.name, data)
        if self.watch is not None:
            self.watch(data)
        return self._weighed(data)

    def _weighed(self, data: Data) -> Data:
        if self.rules.class_weight is None:
            return data
        return weigh_classes(data, self.rules.class_weight, self.has_labels_per_step)

    def _steps(
        self,
        batch_size: int,
        few: Data,
    ) -> int:
        """Return how many steps to read at once, by the size of a few samples."""
        step_bytes = int(bytes_of_sample(few) * batch_size)
        most = PART_BYTES // max(step_bytes, 1)
        wanted = self.samples // batch_size // PARTS
        return max(1, min(most, wanted))


def bytes_of_sample(data: Data) -> float:
    """Return the bytes of a sample, on average."""
    return sum(array.nbytes for array in data.arrays) / data.samples
