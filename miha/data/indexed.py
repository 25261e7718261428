"""Arrays that do not fit on the device: read by the places of their samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from miha.data.arrays import (
    Data,
    check_finite,
    check_lengths,
    digest_shape,
    map_arrays,
    weigh_classes,
)
from miha.data.column import READ_BYTES, Column
from miha.data.stream import Part, Stream


class Indexed(Stream):
    """Samples of arrays, of which only those that are needed are in memory.

    They are trained on in the order in which arrays on the device are, with the same weights.

    Args:
        name: What the user gave them as.
        columns: The arrays.
        places: Which of their samples belong to it.
    """

    def __init__(self, name: str, columns: Data, places: range | None = None) -> None:
        check_lengths(name, columns)
        self.name = name
        self._columns = columns
        self._places = range(columns.samples) if places is None else places
        self.samples = len(self._places)

    @classmethod
    def of(cls, name: str, x: Any, y: Any, sample_weight: Any) -> Indexed:
        """Return the arrays that a user gave, checked but for their values."""
        inputs, targets, weights = (map_arrays(Column, part) for part in (x, y, sample_weight))
        if isinstance(targets, (tuple, dict)) and isinstance(weights, Column):
            weights = map_arrays(lambda _: weights, targets)
        return cls(name, Data(inputs, targets, weights))

    @property
    def nbytes(self) -> int:
        """Bytes of all samples, as they are trained on."""
        columns: list[Any] = self._columns.arrays
        return sum(column.sample_bytes * self.samples for column in columns)

    def split(self, border: int) -> tuple[Indexed, Indexed]:
        """Return the samples before and after a border."""
        first, last = (
            Indexed(self.name, self._columns, part)
            for part in (self._places[:border], self._places[border:])
        )
        return first, last

    def weighed(self, class_weight: Mapping[int, float]) -> Indexed:
        """Return the samples with the weights of their classes, as they are for arrays."""
        blocks = [weigh_classes(block, class_weight) for block in self._targets()]
        weights = np.zeros(self._columns.samples, keras.config.floatx())
        found = np.concatenate([block.sample_weight for block in blocks])
        weights[self._places.start : self._places.stop] = found
        columns = self._columns
        return Indexed(self.name, Data(columns.x, columns.y, Column(weights)), self._places)

    def loaded(self) -> Data:
        """Return all samples in memory, checked."""
        data = self._take(np.arange(self.samples))
        check_finite(self.name, data)
        return data

    def few(self) -> Data:
        """See `Stream`."""
        return self._take(np.arange(min(2, self.samples)))

    def digest(self, sha: Any) -> None:
        """See `Stream`; it is the checksum of the same arrays in memory."""
        columns: list[Any] = self._columns.arrays
        for column in columns:
            digest_shape(sha, (self.samples, *column.shape[1:]), column.dtype)
            for places in self._runs(column):
                block = column.take(places)
                check_finite(self.name, Data(block))
                sha.update(block.tobytes())

    def _targets(self) -> Iterator[Data]:
        y = self._columns.y
        for places in self._runs(y) if isinstance(y, Column) else [np.arange(0)]:
            taken = y.take(places) if isinstance(y, Column) else y
            yield Data(taken, taken, self._columns.sample_weight)

    def _runs(self, column: Column) -> Iterator[np.ndarray]:
        """Yield the places of all samples, some at a time."""
        step = max(READ_BYTES // column.sample_bytes, 1)
        for start in range(0, self.samples, step):
            yield np.asarray(self._places[start : start + step])

    def _take(self, order: np.ndarray) -> Data:
        places = order + self._places.start
        columns = self._columns
        parts = (columns.x, columns.y, columns.sample_weight)
        return Data(*(map_arrays(lambda column: column.take(places), part) for part in parts))

    def _parts(
        self, batch_size: int, order: np.random.Generator | None, shuffle: bool
    ) -> Iterator[Part]:
        samples = np.arange(self.samples)
        if order is not None and shuffle:
            samples = order.permutation(samples)
        size = batch_size * self._steps(batch_size, self.few())
        for start in range(0, len(samples), size):
            yield Part(self._take(samples[start : start + size]), batch_size, size)
