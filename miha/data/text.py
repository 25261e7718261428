"""Text as data: arrays of strings, which only TensorFlow trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def is_text(array: np.ndarray) -> bool:
    """Return whether an array holds text, and nothing but text."""
    if array.dtype.kind != "O":
        return array.dtype.kind in "SU"
    return array.size > 0 and all(isinstance(value, str | bytes) for value in array.flat)


def bytes_of(array: np.ndarray) -> bytes:
    """Return what a checksum of an array is made of; objects are but addresses in memory."""
    if array.dtype.kind != "O":
        return array.tobytes()
    return b"".join(_encoded(array))


def _encoded(array: np.ndarray) -> Iterator[bytes]:
    for value in array.flat:
        text = value.encode() if isinstance(value, str) else bytes(value)
        # With its length: "a", "bc" is other text than "ab", "c".
        yield f"{len(text)}:".encode() + text
