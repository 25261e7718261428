"""Values as JSON can hold them, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what it cannot hold becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        # The order of a set differs from process to process.
        return sorted(map(plain, value), key=repr)
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    # Where an object lies in memory is no part of what it is.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def numbers(value: Any) -> Any:
    """Return numbers as they were before `plain` made text of those that are not finite."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, str):
        return float(value)
    return value
