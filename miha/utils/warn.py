"""Warnings that name the line of the user's code that led to them."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path

from miha.errors import MihaWarning

PACKAGE = str(Path(__file__).parents[1]) + os.sep


def warn(text: str) -> None:
    """Issue a `MihaWarning` that names the first line outside the package.

    Args:
        text: What is left out or goes another way, and what to do about it.

    Source:
        `find_stack_level` of pandas.
    """
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and _is_internal(frame.f_code.co_filename):
        frame = frame.f_back
        level += 1
    warnings.warn(text, MihaWarning, stacklevel=level)


def _is_internal(file: str) -> bool:
    # Between a `with` of the user and a generator of the package stands `contextlib`.
    return file.startswith(PACKAGE) or file == contextlib.__file__
