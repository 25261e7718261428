"""When the tables of a run are written: they grow with it, and are written whole."""

from __future__ import annotations

import time
from pathlib import Path

from miha.storage.logbook import Logbook, write_tables

SHARE = 0.02
"""The largest share of a run's time that its tables take."""


class Tables:
    """`history.csv` and `lineage.csv` of a run that goes on.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 0.0

    @property
    def are_due(self) -> bool:
        """Whether it is long enough since they were written, for what that took."""
        return time.monotonic() >= self._next

    def write(self, log: Logbook) -> None:
        """Write what has happened."""
        began = time.monotonic()
        write_tables(log, self._folder)
        ended = time.monotonic()
        self._next = ended + (ended - began) / SHARE
