"""When a training took place, as far as the run's folder tells."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from miha.errors import JournalError
from miha.storage.folder import RunFolder

if TYPE_CHECKING:
    from miha.results.result import Result


def began(result: Result) -> float:
    """Return when a run began, in seconds since 1970; 0 where that cannot be told.

    A training began as many seconds later as the run had trained before it: what lies between
    the trainings, and between the processes of a run that was interrupted, is not counted.
    """
    try:
        started = RunFolder(result.run_dir).description().get("started", "")
        return datetime.datetime.fromisoformat(started).timestamp()
    except (JournalError, ValueError):
        return 0.0
