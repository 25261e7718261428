"""The arguments of a comparison: what they must be, and checksums of data."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from multiprocessing import current_process
from numbers import Real
from typing import Any

import numpy as np

from miha.errors import ArgumentError

Pair = tuple[Any, Any]

Data = tuple[Pair, Pair, Pair]
"""Training, validation and test data, each ``(x, y)``."""

GUARD = (
    'A script that calls `compare` must do so below `if __name__ == "__main__":`, since each cell '
    "has a process of its own, which imports the script."
)


def refuse_unguarded() -> None:
    """Refuse to compare in a process that only imports the script of another one.

    Raises:
        ArgumentError: It is one: the call has no guard.
    """
    if getattr(current_process(), "_inheriting", False):  # As `multiprocessing` itself asks.
        raise ArgumentError(f"{GUARD} Received: a call from such a process. Add that line.")


def checked(data: Data) -> Data:
    """Return data as three pairs.

    Raises:
        ArgumentError: They are not.
    """
    is_whole = isinstance(data, (tuple, list)) and len(data) == 3
    if not is_whole or not all(isinstance(p, (tuple, list)) and len(p) == 2 for p in data):
        raise ArgumentError(
            "`data` must be three pairs: (x, y), (x_val, y_val), (x_test, y_test). Received: "
            f"{type(data).__name__}. Validation data decide; without them nothing is compared."
        )
    first, second, third = (tuple(part) for part in data)
    return first, second, third


def seeds_of(wish: int | Sequence[int]) -> list[int]:
    """Return seeds, or the first so many.

    Raises:
        ArgumentError: There is none, or one is negative or there twice.
    """
    found = list(range(wish)) if isinstance(wish, int) else list(wish)
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise ArgumentError(
            "`seeds` must be a number of seeds, or different ones of at least 0. "
            f"Received: seeds={wish!r}. Give 5, or [0, 1, 2, 3, 4]."
        )
    return found


def at_least(name: str, value: int, low: int) -> int:
    """Return an integer.

    Raises:
        ArgumentError: It is none, or too small.
    """
    if not isinstance(value, int) or value < low:
        raise ArgumentError(
            f"`{name}` must be an integer, at least {low}. Received: {name}={value!r}."
        )
    return value


def positive_or_none(name: str, value: float | None) -> float | None:
    """Return a number above 0, or None.

    Raises:
        ArgumentError: It is neither.
    """
    if value is not None and not (isinstance(value, Real) and 0 < value < math.inf):
        raise ArgumentError(
            f"`{name}` must be a number above 0, or None for no limit. Received: {name}={value!r}."
        )
    return value


def checksum(part: Pair) -> str:
    """Return a checksum of inputs and targets."""
    crc = 0
    for array in map(np.ascontiguousarray, part):
        crc = zlib.crc32(array.data, zlib.crc32(f"{array.shape} {array.dtype}".encode(), crc))
    return f"{crc:08x}"
