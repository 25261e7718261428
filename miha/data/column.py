"""One large array, of which only the samples that are needed are in memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from miha.data.arrays import as_array
from miha.errors import ArgumentError

READ_BYTES = 32 * 2**20
"""How much of a file is mapped into memory at a time, at most."""

FAULT_BYTES = 64 * 2**10
"""What the system maps where a single value is read."""


class Column:
    """One array of samples: NumPy's, memory-mapped or an HDF5 dataset.

    Args:
        values: The array; anything else that `fit` takes as one is made one.

    Raises:
        ArgumentError: It is no array of numbers.
    """

    def __init__(self, values: Any) -> None:
        if not is_on_disk(values) and not isinstance(values, np.ndarray):
            values = as_array(values)
        self._values = _mapped(values)
        kind, fields = self._values.dtype.kind, self._values.dtype.names
        if kind not in "biufcV" or fields or not self._values.ndim:
            raise ArgumentError(
                "`x` and `y` must be arrays of numbers with samples along the first axis. "
                f"Received: {type(values)} of dtype {values.dtype} and shape {values.shape}. "
                "Convert the data first."
            )
        self._map = _find_map(self._values)
        # As `fit` does: floats of any width become the float that Keras computes with.
        is_float = self._values.dtype.kind == "f"
        self.dtype = np.dtype(keras.config.floatx()) if is_float else self._values.dtype
        self.shape: tuple[int, ...] = tuple(self._values.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample, as it is trained on."""
        return math.prod(self.shape[1:]) * int(self.dtype.itemsize)

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return some samples.

        Args:
            places: Which, in any order.
        """
        taken = np.empty((len(places), *self.shape[1:]), self.dtype)
        done = 0
        for part in self._readable(places):
            taken[done : done + len(part)] = self._read(part)
            self._release()
            done += len(part)
        return taken

    def _readable(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Yield places of so many samples that the pages that they lie on are not too many."""
        sample = self.sample_bytes // self.dtype.itemsize * self._values.dtype.itemsize
        at_once = READ_BYTES // max(sample, 1 if _is_run(places) else FAULT_BYTES)
        step = max(at_once, 1) if self._map is not None else max(len(places), 1)
        for start in range(0, len(places), step):
            yield places[start : start + step]

    def _read(self, places: np.ndarray) -> Any:
        if _is_run(places):
            return self._values[int(places[0]) : int(places[-1]) + 1]
        if isinstance(self._values, np.ndarray):
            return self._values[places]
        # HDF5 reads in rising order only.
        sorted_places, back = np.unique(places, return_inverse=True)
        return self._values[sorted_places][back]

    def _release(self) -> None:
        """Give back the pages that were read; the system keeps them as long as it has room."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


def is_on_disk(values: Any) -> bool:
    """Tell whether an array is memory-mapped, or an HDF5 dataset."""
    return _memmap(values) is not None or type(values).__module__.split(".")[0] == "h5py"


def _is_run(places: np.ndarray) -> bool:
    return len(places) > 0 and bool((np.diff(places) == 1).all())


def _mapped(values: Any) -> Any:
    """Map an HDF5 dataset that lies in one piece, which is read much faster than through HDF5."""
    if isinstance(values, np.ndarray):
        return values
    is_plain = values.chunks is None and values.external is None and not values.is_virtual
    file = values.file
    if not is_plain or file.mode != "r" or file.driver != "sec2" or file.userblock_size:
        return values
    offset, kind = values.id.get_offset(), values.dtype.kind
    if offset is None or kind not in "biuf" or not values.size:
        return values
    return np.memmap(file.filename, values.dtype, "r", offset, values.shape)


def _memmap(values: Any) -> np.memmap[Any, Any] | None:
    """Return the memory-mapped array that an array is a view of, if it is one."""
    while isinstance(values, np.ndarray) and not isinstance(values, np.memmap):
        values = values.base
    return values if isinstance(values, np.memmap) else None


def _find_map(values: Any) -> mmap.mmap | None:
    """Return the mapping that an array is a view of, if its pages may be given back."""
    found: Any = _memmap(values)
    if found is None or found.mode == "c":  # Changed pages of a copy would be lost.
        return None
    while isinstance(found, np.ndarray):
        found = found.base
    return found if isinstance(found, mmap.mmap) and hasattr(found, "madvise") else None
