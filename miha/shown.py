"""Runs on a terminal: one in words with its lineage, or a list of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError
from miha.folder import RunFolder
from miha.reader import load_run
from miha.story import Story
from miha.summary import summarize
from miha.trials import Trial

if TYPE_CHECKING:
    from miha.result import Result


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
    table = Table("run", "state", "cycles", "best", "value", "started")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _lineage(story: Story, clones: list[Trial]) -> Table:
    table = Table(title="Who won each cycle")
    for name in ("cycle", "clone", "mutation", story.monitor, "fitness", "gain"):
        table.add_column(escape(name), justify="left" if name == "mutation" else "right")
    for clone in clones:
        numbers = map(_number, (clone.value, clone.fitness, clone.gain))
        style = "bold" if clone.selected and len(clones) > len(story.cycles) else None
        words = map(str, (clone.cycle, clone.clone, escape(clone.change), *numbers))
        table.add_row(*words, style=style)
    return table


def _runs(folder: Path) -> Iterator[tuple[str, ...]]:
    for path in sorted(path for path in folder.iterdir() if RunFolder(path).has_run):
        try:
            yield _run(path, load_run(path))
        except JournalError as error:
            yield path.name, "damaged", "", "", "", str(error)[:60]


def _run(path: Path, result: Result) -> tuple[str, ...]:
    description, best = RunFolder(path).description(), Story.of(result).best
    cycles = description["arguments"].get("schedule", {}).get("c", "?")
    value = _number(best.value if best else None)
    done = f"{len(result._log.winners)}/{cycles}"
    return path.name, result.state, done, result.monitor, value, description.get("started", "")


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"
