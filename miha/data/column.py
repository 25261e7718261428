"""One large array, of which memory holds only the samples that are needed."""

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
        dtype = self._values.dtype
        if dtype.kind not in "biufcV" or dtype.names or not self._values.ndim:
            raise ArgumentError(
                "`x` and `y` must be arrays of numbers with samples along the first axis. "
                f"Received: {type(values)} of dtype {values.dtype} and shape {values.shape}. "
                "Convert the data first."
            )
        self._map = _find_map(self._values)
        # As in `fit`, floats of any width become the float that Keras computes with.
        if dtype.kind == "f":
            dtype = np.dtype(keras.config.floatx())
        self.dtype = dtype
        self.shape: tuple[int, ...] = tuple(self._values.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample, as it is trained on."""
        values = math.prod(self.shape[1:])
        return values * int(self.dtype.itemsize)

    def take(
        self,
        places: np.ndarray,
    ) -> np.ndarray:
        """Return some samples.

        Args:
            places: Which, in any order.
        """
        shape = (len(places), *self.shape[1:])
        taken = np.empty(shape, self.dtype)
        done = 0
        for part in self._readable(places):
            end = done + len(part)
            taken[done:end] = self._read(part)
            done = end
            # The system keeps the pages as long as it has room.
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)
        return taken

    def _readable(
        self,
        places: np.ndarray,
    ) -> Iterator[np.ndarray]:
        """Yield places of so many samples that their pages together are not too many."""
        step = len(places)
        if self._map is not None:
            # In the file, a value may have another size than on the device.
            values = self.sample_bytes // self.dtype.itemsize
            sample = values * self._values.dtype.itemsize
            least = 1 if _is_run(places) else FAULT_BYTES
            step = READ_BYTES // max(sample, least)
        step = max(step, 1)
        for start in range(0, len(places), step):
            yield places[start : start + step]

    def _read(self, places: np.ndarray) -> Any:
        if _is_run(places):
            first = int(places[0])
            last = int(places[-1])
            return self._values[first : last + 1]
        if isinstance(self._values, np.ndarray):
            return self._values[places]
        # HDF5 reads in rising order only.
        rising, back = np.unique(places, return_inverse=True)
        return self._values[rising][back]


def is_on_disk(values: Any) -> bool:
    """Return whether an array is memory-mapped, or an HDF5 dataset."""
    package, *_ = type(values).__module__.split(".")
    return _memmap(values) is not None or package == "h5py"


def _is_run(places: np.ndarray) -> bool:
    steps = np.diff(places)
    return len(places) > 0 and bool((steps == 1).all())


def _mapped(values: Any) -> Any:
    """Map an HDF5 dataset that lies in one piece, which is read much faster than through HDF5."""
    if isinstance(values, np.ndarray):
        return values
    file = values.file
    is_one_piece = values.chunks is None and values.external is None and not values.is_virtual
    is_plain_file = file.mode == "r" and file.driver == "sec2" and not file.userblock_size
    if not is_one_piece or not is_plain_file:
        return values
    # A dataset that has no values yet has no place in the file.
    offset = values.id.get_offset()
    if offset is None or values.dtype.kind not in "biuf" or not values.size:
        return values
    return np.memmap(file.filename, values.dtype, "r", offset, values.shape)


def _memmap(
    values: Any,
) -> np.memmap[Any, Any] | None:
    """Return the memory-mapped array that an array is a view of, if it is one."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return values
        values = values.base
    return None


def _find_map(values: Any) -> mmap.mmap | None:
    """Return the mapping that an array is a view of, if its pages may be given back."""
    found: Any = _memmap(values)
    # Of a copy on write, changed pages would be lost.
    if found is None or found.mode == "c":
        return None
    while isinstance(found, np.ndarray):
        found = found.base
    can_release = isinstance(found, mmap.mmap) and hasattr(found, "madvise")
    return found if can_release else None
