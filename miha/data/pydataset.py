"""`keras.utils.PyDataset`: batches by place, which stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.py_dataset_adapter import OrderedEnqueuer

from miha.data.arrays import Data
from miha.data.blocks import as_data
from miha.data.iterated import LOOKED_AT, Iterated
from miha.errors import ArgumentError
from miha.utils.warn import warn


class PyDataset(Iterated):
    """The batches of a `keras.utils.PyDataset`, read by as many workers as it asks for.

    As in `fit`, it is the order of the batches that is shuffled, and the dataset is told where an
    epoch begins and ends.

    Args:
        name: What the user gave it as.
        dataset: The dataset.
        class_weight: Weight of each class in the loss, or None.

    Raises:
        ArgumentError: It is infinite, or a batch is wrong.
    """

    kind = "a PyDataset"

    def __init__(
        self,
        name: str,
        dataset: keras.utils.PyDataset,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        if dataset.num_batches is None:
            raise ArgumentError(
                f"`{name}` must have an end: MIHA has to know when an epoch ends. "
                f"Received: {type(dataset)}, whose `num_batches` is None. Let it return the "
                "number of batches of one epoch."
            )
        self._dataset, self._is_told = dataset, True
        super().__init__(name, dataset.num_batches, class_weight, own_batches=True)

    def for_evaluation(self) -> PyDataset:
        """See `Stream`; an evaluation on training data is no epoch that the dataset is told of."""
        twin = copy.copy(self)
        twin._is_told = False
        return twin

    def _peek(self) -> list[Data]:
        number = min(LOOKED_AT, self._dataset.num_batches)
        return [as_data(self.name, self._dataset[i]) for i in range(number)]

    def _warn(self) -> None:
        super()._warn()
        own = type(self._dataset)
        hooks = ("on_epoch_begin", "on_epoch_end")
        changed = [h for h in hooks if getattr(own, h) is not getattr(keras.utils.PyDataset, h)]
        if changed and self.repeats:
            warn(
                f"`{self.name}` is {self.kind} with an `{changed[0]}`. What it changes there goes "
                "on from clone to clone: where that is the samples or their order, the clones of "
                "a cycle are not compared on the same ones, and an interrupted run does not end "
                "with the same bits. Leave the shuffling to MIHA."
            )

    def _batches(self, size: int | None, seed: int, shuffle: bool) -> Iterator[Data]:
        dataset = self._dataset
        if self._is_told:
            dataset.on_epoch_begin()
        places = np.arange(dataset.num_batches)
        if shuffle:
            places = np.random.default_rng(seed).permutation(places)
        for batch in _read(dataset, places):
            yield as_data(self.name, batch)
        if self._is_told:
            dataset.on_epoch_end()


class _Ordered(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of another dataset in a given order."""

    def __init__(self, dataset: keras.utils.PyDataset, places: np.ndarray) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset, self._places = dataset, places

    @property
    def num_batches(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[int(self._places[index])]


def _read(dataset: keras.utils.PyDataset, places: np.ndarray) -> Iterator[Any]:
    """Yield batches in order; several workers read them where the dataset asks for it."""
    ordered = _Ordered(dataset, places)
    workers, processes = dataset.workers, dataset.use_multiprocessing
    if workers <= 1 and not (workers and processes):
        yield from ordered
        return
    reader = OrderedEnqueuer(ordered, workers, processes, dataset.max_queue_size)
    reader.start()
    try:
        for _, batch in zip(range(len(places)), reader.get(), strict=False):
            yield batch
    finally:
        reader.stop()
