"""`keras.utils.PyDataset`: batches by place, which stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.py_dataset_adapter import OrderedEnqueuer

from miha.data.arrays import Data
from miha.data.blocks import as_data
from miha.data.iterated import LOOKED_AT, Iterated
from miha.data.stream import Rules
from miha.errors import ArgumentError
from miha.utils.warn import warn

HOOKS = ("on_epoch_begin", "on_epoch_end")


class PyDataset(Iterated):
    """The batches of a `keras.utils.PyDataset`, read by as many workers as it asks for.

    As in `fit`, the order of the batches is shuffled, and the dataset's hooks are called where an
    epoch begins and ends.

    Args:
        name: The argument that the user gave it as.
        dataset: The dataset.
        rules: What is asked of the samples and done with them.

    Raises:
        ArgumentError: It is infinite, or a batch is wrong.
    """

    kind = "a PyDataset"

    def __init__(
        self,
        name: str,
        dataset: keras.utils.PyDataset,
        rules: Rules,
    ) -> None:
        if dataset.num_batches is None:
            raise ArgumentError(
                f"`{name}` must have an end: MIHA has to know when an epoch ends. "
                f"Received: {type(dataset)}, whose `num_batches` is None. Let it return the "
                "number of batches of one epoch."
            )
        self._dataset = dataset
        self._calls_hooks = True
        super().__init__(name, dataset.num_batches, rules, own_batches=True)

    def for_evaluation(self) -> PyDataset:
        """See `Stream`; an evaluation on training data is no epoch of the dataset's hooks."""
        twin = copy.copy(self)
        twin._calls_hooks = False
        return twin

    def _peek(self) -> list[Data]:
        number = min(LOOKED_AT, self._dataset.num_batches)
        batches = [self._dataset[place] for place in range(number)]
        return [as_data(self.name, batch) for batch in batches]

    def _warn(self) -> None:
        super()._warn()
        changed = [hook for hook in HOOKS if self._overrides(hook)]
        if changed and self.repeats:
            warn(
                f"`{self.name}` is {self.kind} with an `{changed[0]}`. What it changes there goes "
                "on from clone to clone: where that is the samples or their order, the clones of "
                "a cycle are not compared on the same ones, and an interrupted run does not end "
                "with the same bits. Leave the shuffling to MIHA."
            )

    def _overrides(self, hook: str) -> bool:
        own = getattr(type(self._dataset), hook)
        return own is not getattr(keras.utils.PyDataset, hook)

    def _batches(
        self,
        size: int | None,
        seed: int,
        shuffle: bool,
    ) -> Iterator[Data]:
        dataset = self._dataset
        if self._calls_hooks:
            dataset.on_epoch_begin()
        places = np.arange(dataset.num_batches)
        if shuffle:
            places = np.random.default_rng(seed).permutation(places)
        for batch in _read(dataset, places):
            yield as_data(self.name, batch)
        if self._calls_hooks:
            dataset.on_epoch_end()


class _Ordered(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of another dataset in a given order."""

    def __init__(
        self,
        dataset: keras.utils.PyDataset,
        places: np.ndarray,
    ) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._places = places

    @property
    def num_batches(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Any:
        place = int(self._places[index])
        return self._dataset[place]


def _read(
    dataset: keras.utils.PyDataset,
    places: np.ndarray,
) -> Iterator[Any]:
    """Yield batches in order; several workers read them where the dataset asks for it."""
    ordered = _Ordered(dataset, places)
    workers = dataset.workers
    processes = dataset.use_multiprocessing
    # As in Keras, a single worker is worth it only in another process.
    if workers <= 1 and not (workers and processes):
        yield from ordered
        return
    reader = OrderedEnqueuer(ordered, workers, processes, dataset.max_queue_size)
    reader.start()
    try:
        # The reader itself has no end.
        yield from islice(reader.get(), len(places))
    finally:
        reader.stop()
