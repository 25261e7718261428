"""One way to warn: the warning names the user's own line."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from miha.errors import MihaWarning

_PACKAGE = str(Path(__file__).parents[1])


def warn(text: str) -> None:
    """Warn the user, at the first line of the call stack outside this package.

    Args:
        text: What was left out, or went another way.
    """
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(text, MihaWarning, stacklevel=level - 1)
