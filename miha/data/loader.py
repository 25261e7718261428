"""PyTorch's `DataLoader`, on every backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from miha.data.arrays import Data
from miha.data.blocks import as_data, grouped
from miha.data.iterated import LOOKED_AT, Iterated
from miha.data.stream import Order, Part, Rules, seed_of
from miha.errors import ArgumentError


class Loader(Iterated):
    """The batches of a `DataLoader`.

    Where its dataset gives samples by place, the loader's `collate_fn` and workers put them into
    batches of any size.

    Args:
        name: The argument that the user gave it as.
        loader: The loader.
        rules: What is asked of the samples and done with them.

    Raises:
        ArgumentError: Its length is not known, or a batch is wrong.
    """

    kind = "a DataLoader"

    def __init__(
        self,
        name: str,
        loader: DataLoader[Any],
        rules: Rules,
    ) -> None:
        self._loader = loader
        is_iterable = isinstance(loader.dataset, IterableDataset)
        self._is_map = loader.batch_size is not None and not is_iterable
        length = _length(name, loader)
        super().__init__(name, length, rules, own_batches=not self._is_map)
        self.rebatches = self._is_map
        if self._is_map:
            self.samples = len(loader.sampler)
        # Without workers, samples may be drawn from the generator that PyTorch's Dropout uses.
        has_workers = self._is_map and loader.num_workers > 0
        self.is_threaded = has_workers or keras.backend.backend() != "torch"

    def _parts(
        self,
        batch_size: int,
        order: Order,
        shuffle: bool,
    ) -> Iterator[Part]:
        if not self._is_map:
            yield from super()._parts(batch_size, order, shuffle)
            return
        indices = self._indices(order, shuffle)
        seed = seed_of(order)
        loader = _rebuilt(self._loader, batch_size, indices, seed)
        steps = self._steps(batch_size, self._first[0])
        yield from grouped(self._read(loader, seed), steps)

    def _indices(
        self,
        order: Order,
        shuffle: bool,
    ) -> list[int]:
        """Return the places of the samples of an epoch."""
        sampler = self._loader.sampler
        is_plain = isinstance(sampler, (RandomSampler, SequentialSampler))
        if is_plain and len(sampler) == len(self._loader.dataset):
            samples = np.arange(len(sampler))
            if order is not None and shuffle:
                samples = order.permutation(samples)
            return list(map(int, samples))
        with _seeded(seed_of(order)):
            return list(sampler)

    def _peek(self) -> list[Data]:
        loader = self._loader
        if self._is_map:
            indices = self._indices(None, False)
            # Workers take long to begin.
            loader = _rebuilt(loader, loader.batch_size, indices, 0, workers=0)
        with _seeded(0):
            batches = list(islice(loader, LOOKED_AT))
        return [as_data(self.name, batch) for batch in batches]

    def _batches(
        self,
        size: int | None,
        seed: int,
        shuffle: bool,
    ) -> Iterator[Data]:
        yield from self._read(self._loader, seed)

    def _read(
        self,
        loader: DataLoader[Any],
        seed: int,
    ) -> Iterator[Data]:
        """Yield batches; what a dataset draws is drawn from a seed.

        On PyTorch, that is the seed of the training, which its Dropout draws from as well.
        """
        is_shared = keras.backend.backend() == "torch"
        context = contextlib.nullcontext() if is_shared else _seeded(seed)
        with context:
            for batch in loader:
                yield as_data(self.name, batch)


def _length(
    name: str,
    loader: DataLoader[Any],
) -> int:
    try:
        return len(loader)
    except TypeError as error:
        raise ArgumentError(
            f"`{name}` must have a length: MIHA has to know when an epoch ends. "
            f"Received: a DataLoader of {type(loader.dataset)}, which has none. Write a `__len__` "
            "for it that returns the number of samples."
        ) from error


def _rebuilt(
    loader: DataLoader[Any],
    batch_size: int | None,
    indices: list[int],
    seed: int,
    workers: int | None = None,
) -> DataLoader[Any]:
    """Return a loader of the same samples in another order and other batches."""
    if workers is None:
        workers = loader.num_workers
    return DataLoader(
        loader.dataset,
        batch_size=batch_size,
        sampler=indices,
        num_workers=workers,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last,
        timeout=loader.timeout if workers else 0,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context if workers else None,
        generator=torch.Generator().manual_seed(seed),
        prefetch_factor=loader.prefetch_factor if workers else None,
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let PyTorch's generator begin at a seed, and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
