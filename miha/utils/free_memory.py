"""Resident memory that does not grow with the cycles."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def release() -> None:
    """Give memory that is free back to the system, which glibc else keeps in pieces.

    Measured on 60 clones of a network of 1.3 MB: the process grows by 41 MB without it, by 11 MB
    with it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # Other libraries have no such call.
            ctypes.CDLL(None).malloc_trim(0)
