"""The runs of a folder as a table on a terminal."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError
from miha.records import Judge, as_loss
from miha.results.reader import load_run
from miha.results.result import Result
from miha.results.trials import RunView
from miha.search.best import best_network
from miha.storage.disk import megabytes
from miha.storage.folder import RunFolder

Sort = Literal["name", "best", "size", "started"]
"""What comes first: by name, the best, the largest, the latest."""


@dataclass(frozen=True)
class Row:
    """One run in the list.

    Attributes:
        name: Its folder's.
        state: Whether it is finished, running, interrupted or damaged.
        cycles: How many are done, and of how many.
        best: Its best monitored value, with its name.
        metric: What the best network is the best in, where that is something else.
        size: Bytes of its folder.
        started: When it began, or why it cannot be read.
        loss: Its best value, such that smaller is better.
    """

    name: str
    state: str
    cycles: str
    best: str
    metric: str
    size: int
    started: str
    loss: float

    def cells(self) -> list[str]:
        """Return what the table shows; a run's own text may look like the terminal's markup."""
        size = megabytes(self.size)
        texts = (self.name, self.state, self.cycles, self.best, self.metric, size, self.started)
        return [escape(text) for text in texts]


_KEYS: dict[Sort, Callable[[Row], Any]] = {
    "name": lambda row: row.name,
    "best": lambda row: (math.isnan(row.loss), row.loss),
    "size": lambda row: -row.size,
    # Dates as they are written are in order.
    "started": lambda row: row.started,
}


def print_runs(folder: Path, sort: Sort = "name") -> None:
    """Print the runs in a folder.

    Args:
        folder: What holds the runs' folders.
        sort: What comes first.

    Raises:
        JournalError: There is no such folder.
    """
    if not folder.is_dir():
        raise JournalError(
            "The folder of the runs must be there. "
            f"Received: {str(folder)!r}. Name another, as in `miha list my_logs`."
        )
    console = Console(highlight=False)
    rows = sorted(_rows(folder), key=_KEYS[sort], reverse=sort == "started")
    if not rows:
        console.print(escape(f"There are no runs in {str(folder)!r}."))
        return

    table = Table("run", "state", "cycles", "best value", "metric", "size", "started")
    table.columns[5].justify = "right"
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


def folders_of_runs(parent: Path) -> list[Path]:
    """Return the folders of runs in a folder; none where it cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if RunFolder(path).has_run)
    except OSError:
        return []


def _rows(folder: Path) -> Iterator[Row]:
    for path in folders_of_runs(folder):
        size = _size(path)
        try:
            yield _row(path, size)
        # One damaged run must not hide the others.
        except JournalError as error:
            yield Row(path.name, "damaged", "", "", "", size, str(error)[:60], math.nan)


def _row(path: Path, size: int) -> Row:
    result = load_run(path)
    description = RunFolder(path).description()
    view = RunView.of(result)
    schedule = description["arguments"].get("schedule", {})
    value = view.best.value if view.best else math.nan
    return Row(
        name=path.name,
        state=result.state,
        cycles=f"{view.cycles_done}/{schedule.get('c', '?')}",
        best=f"{result.monitor} {_number(value)}",
        metric=_metric(result, description["arguments"].get("judge")),
        size=size,
        started=_clock(description),
        loss=as_loss(value, result.mode),
    )


def _metric(result: Result, values: dict[str, Any] | None) -> str:
    """Return the metric of the best network; nothing where that is the monitored value."""
    # A run of version 0.3.0 has none.
    if values is None or values["name"] == result.monitor:
        return ""
    judge = Judge(**values)
    unseen = [record for record in result.log.trainings if not record.has_seen_validation]
    best = best_network(unseen, judge)
    value = math.nan if best is None else judge.value(best)
    return f"{judge.name} {_number(value)}"


def _size(path: Path) -> int:
    """Return the bytes of a folder; a file that goes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _clock(description: dict[str, Any]) -> str:
    """Return when a run began, by this computer's clock."""
    try:
        started = datetime.datetime.fromisoformat(str(description.get("started")))
    except ValueError:
        return "–"
    return f"{started.astimezone():%Y-%m-%d %H:%M}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
