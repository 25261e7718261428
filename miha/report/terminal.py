"""Runs on a terminal: one in words with its lineage, or a list of them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError
from miha.results.reader import load_run
from miha.results.story import Story
from miha.results.summary import summarize
from miha.results.trials import Trial
from miha.storage.folder import RunFolder

if TYPE_CHECKING:
    from miha.results.result import Result


def check_run(folder: Path) -> None:
    """Raise unless a folder is that of a run; say which ones there are.

    Raises:
        JournalError: It is none.
    """
    if RunFolder(folder).has_run:
        return
    places = dict.fromkeys((folder, folder.parent, Path("logs")))
    there = next((found for place in places if (found := _folders(place))), [])
    example = f", such as {str(there[-1])!r}; `miha list` shows those of a folder" if there else ""
    raise JournalError(
        f"A run's folder must hold its `run.json`. Received: {str(folder)!r}, which "
        f"{'holds none' if folder.exists() else 'is not there'}. "
        f"Name the folder of a run{example}."
    )


def _folders(parent: Path) -> list[Path]:
    """Return the folders of runs in a folder; none where it cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if RunFolder(path).has_run)
    except OSError:
        return []


def print_run(folder: Path, every: bool = False) -> None:
    """Print a run's summary and its lineage.

    Args:
        folder: The run's.
        every: Whether to print every clone, and not the winners only.

    Raises:
        JournalError: The folder holds no run, or it is damaged.
    """
    result, console = load_run(folder), Console(highlight=False)
    for text in summarize(result):
        console.print(escape(text), end="\n\n")
    story = Story.of(result)
    clones = [clone for clone in story.clones if every or clone.selected]
    if clones:
        console.print(_lineage(story, clones))


def print_runs(folder: Path) -> None:
    """Print the runs in a folder.

    Args:
        folder: What holds the runs' folders.

    Raises:
        JournalError: There is no such folder.
    """
    if not folder.is_dir():
        raise JournalError(
            "The folder of the runs must be there. "
            f"Received: {str(folder)!r}. Name another, as in `miha list my_logs`."
        )
    rows = list(_runs(folder))
    console = Console(highlight=False)
    if not rows:
        console.print(escape(f"There are no runs in {str(folder)!r}."))
        return
    table = Table("run", "state", "cycles", "best value", "started")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _lineage(story: Story, clones: list[Trial]) -> Table:
    is_whole = len(clones) > len(story.won)
    table = Table(title="All clones" if is_whole else "Who won each cycle")
    for name in ("cycle", "clone", "mutation", story.monitor, "fitness", "gain"):
        table.add_column(escape(name), justify="left" if name == "mutation" else "right")
    for clone in clones:
        numbers = map(_number, (clone.value, clone.fitness, clone.gain))
        style = "bold" if clone.selected and is_whole else None
        words = map(str, (clone.cycle, clone.clone, escape(clone.change), *numbers))
        table.add_row(*words, style=style)
    return table


def _runs(folder: Path) -> Iterator[tuple[str, ...]]:
    for path in _folders(folder):
        try:
            yield _run(path, load_run(path))
        except JournalError as error:
            yield path.name, "damaged", "", "", str(error)[:60]


def _run(path: Path, result: Result) -> tuple[str, ...]:
    description, story = RunFolder(path).description(), Story.of(result)
    cycles = description["arguments"].get("schedule", {}).get("c", "?")
    best = f"{result.monitor} {_number(story.best.value if story.best else None)}"
    return path.name, result.state, f"{story.done}/{cycles}", best, _clock(description)


def _clock(description: dict[str, Any]) -> str:
    """Return when a run began, by this computer's clock."""
    try:
        started = datetime.datetime.fromisoformat(str(description.get("started")))
    except ValueError:
        return "–"
    return f"{started.astimezone():%Y-%m-%d %H:%M}"


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"
