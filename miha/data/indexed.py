"""Arrays that do not fit on the device: read by the places of their samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from miha.data import arrays
from miha.data.arrays import Data, check_lengths, digest_shape, map_arrays, weigh_classes
from miha.data.column import READ_BYTES, Column
from miha.data.stream import Order, Part, Rules, Stream


class Indexed(Stream):
    """Samples of arrays, of which memory holds only those that are needed.

    Order and weights are those of arrays on the device.

    Args:
        name: The argument that the user gave them as.
        columns: The arrays.
        rules: What is asked of the samples; classes are weighed by `weighed` alone.
        places: Which of their samples belong to it; None: all.
    """

    def __init__(
        self,
        name: str,
        columns: Data,
        rules: Rules,
        places: range | None = None,
    ) -> None:
        check_lengths(name, columns)
        self.name = name
        self.rules = replace(rules, class_weight=None)
        self._columns = columns
        self._places = range(columns.samples) if places is None else places
        self.samples = len(self._places)

    @classmethod
    def of(
        cls,
        name: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        rules: Rules,
    ) -> Indexed:
        """Return the arrays that a user gave, checked but for their values."""
        columns = Data(x, y, sample_weight).map(Column)
        return cls(name, columns.with_spread_weights(), rules)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples, as they are trained on."""
        columns: list[Any] = self._columns.arrays
        sample_bytes: int = sum(column.sample_bytes for column in columns)
        return self.samples * sample_bytes

    def split(
        self,
        border: int,
    ) -> tuple[Indexed, Indexed]:
        """Return the samples before and after a border."""
        before = Indexed(self.name, self._columns, self.rules, self._places[:border])
        after = Indexed(self.name, self._columns, self.rules, self._places[border:])
        return before, after

    def weighed(
        self,
        class_weight: Mapping[int, float],
    ) -> Indexed:
        """Return the samples with the weights of their classes, as they are for arrays."""
        blocks = [weigh_classes(block, class_weight) for block in self._targets()]
        found = [block.sample_weight for block in blocks]
        # Columns hold all samples, of which these may be a part.
        weights = np.zeros(self._columns.samples, keras.config.floatx())
        part = slice(self._places.start, self._places.stop)
        weights[part] = np.concatenate(found)
        columns = replace(self._columns, sample_weight=Column(weights))
        return Indexed(self.name, columns, self.rules, self._places)

    def loaded(self) -> Data:
        """Return all samples in memory, checked."""
        data = self._take(np.arange(self.samples))
        return self._checked(data)

    def few(self) -> Data:
        """See `Stream`."""
        return self._take(np.arange(min(2, self.samples)))

    def blocks(self, part: arrays.Part) -> Iterator[Any]:
        """See `Stream`: all, of which memory holds some."""
        structure = getattr(self._columns, part)
        columns: list[Any] = Data(structure).arrays
        if not columns:
            return
        largest = max(columns, key=lambda column: int(column.sample_bytes))
        for places in self._runs(largest):
            yield map_arrays(partial(_take, places=places), structure)

    def digest(self, sha: Any) -> None:
        """See `Stream`; it is the checksum of the same arrays in memory."""
        columns: list[Any] = self._columns.arrays
        for column in columns:
            shape = (self.samples, *column.shape[1:])
            digest_shape(sha, shape, column.dtype)
            for places in self._runs(column):
                block = column.take(places)
                self._checked(Data(block))
                sha.update(block.tobytes())

    def _targets(self) -> Iterator[Data]:
        """Yield the targets, some at a time, with what says whether classes can be weighed."""
        y = self._columns.y
        weights = self._columns.sample_weight
        if not isinstance(y, Column):
            yield Data(y, y, weights)
            return
        for places in self._runs(y):
            taken = y.take(places)
            yield Data(taken, taken, weights)

    def _runs(
        self,
        column: Column,
    ) -> Iterator[np.ndarray]:
        """Yield the places of all samples, some at a time."""
        step = max(READ_BYTES // column.sample_bytes, 1)
        for start in range(0, self.samples, step):
            yield np.asarray(self._places[start : start + step])

    def _take(self, order: np.ndarray) -> Data:
        places = order + self._places.start
        return self._columns.map(lambda column: column.take(places))

    def _parts(
        self,
        batch_size: int,
        order: Order,
        shuffle: bool,
    ) -> Iterator[Part]:
        samples = np.arange(self.samples)
        if order is not None and shuffle:
            samples = order.permutation(samples)
        size = batch_size * self._steps(batch_size, self.few())
        for start in range(0, len(samples), size):
            data = self._take(samples[start : start + size])
            yield Part(data, batch_size, size)


def _take(
    column: Column,
    places: np.ndarray,
) -> np.ndarray:
    return column.take(places)
