"""Resident memory that does not grow with the cycles."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def release() -> None:
    """Return free memory to the system; glibc would keep it in pieces.

    Measured on 60 clones of a network of 1.3 MB: the process grows by 41 MB without it, by 11 MB
    with it.
    """
    if sys.platform != "linux":
        return
    # Other libraries than glibc have no such call.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
