"""Runs on a terminal: one in words with its lineage, or a list of them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError, MihaError
from miha.results.reader import load_run
from miha.results.summary import summarize
from miha.results.trials import RunView, TrainingView
from miha.storage.folder import RunFolder


def check_run(folder: Path) -> None:
    """Raise unless a folder is that of a run; say which ones there are.

    Raises:
        JournalError: It is none.
    """
    if RunFolder(folder).has_run:
        return
    example = ""
    for place in (folder, folder.parent, Path("logs")):
        runs = _folders(place)
        if runs:
            example = f", such as {str(runs[-1])!r}; `miha list` shows those of a folder"
            break
    state = "holds none" if folder.exists() else "is not there"
    raise JournalError(
        f"A run's folder must hold its `run.json`. Received: {str(folder)!r}, which {state}. "
        f"Name the folder of a run{example}."
    )


def _folders(parent: Path) -> list[Path]:
    """Return the folders of runs in a folder; none where it cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if RunFolder(path).has_run)
    except OSError:
        return []


def print_run(folder: Path, every: bool = False, metrics: Sequence[str] = ()) -> None:
    """Print a run's summary and its lineage.

    Args:
        folder: The run's.
        every: Whether to print every clone, and not the winners only.
        metrics: Logged values that have a column beside the monitored one.

    Raises:
        JournalError: The folder holds no run, or it is damaged.
        MihaError: A metric was not logged.
    """
    result = load_run(folder)
    _check_metrics(RunView.of(result), metrics)
    console = Console(highlight=False)
    for text in summarize(result):
        console.print(escape(text), end="\n\n")
    view = RunView.of(result)
    clones = view.clones
    if not every:
        clones = [clone for clone in clones if clone.selected]
    if clones:
        console.print(_lineage(view, clones, metrics))


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
        # A run's own text may look like the markup of the terminal.
        table.add_row(*map(escape, row))
    console.print(table)


def _check_metrics(view: RunView, metrics: Sequence[str]) -> None:
    unknown = [name for name in metrics if name not in view.metrics]
    if unknown:
        raise MihaError(
            f"`--metric` must name a value that was logged: {', '.join(view.metrics) or 'none'}. "
            f"Received: {', '.join(unknown)}. Choose one of those."
        )


def _lineage(view: RunView, clones: list[TrainingView], metrics: Sequence[str] = ()) -> Table:
    has_losers = len(clones) > len(view.winners)
    table = Table(title="All clones" if has_losers else "Who won each cycle")
    others = [name for name in dict.fromkeys(metrics) if name != view.monitor]
    for name in ("cycle", "clone", "mutation", view.monitor, *others, "fitness", "gain"):
        is_text = name == "mutation"
        table.add_column(escape(name), justify="left" if is_text else "right")
    for clone in clones:
        table.add_row(
            str(clone.cycle),
            str(clone.clone),
            escape(clone.change),
            _number(clone.value),
            *[_number(next(reversed(clone.curve(name)), None)) for name in others],
            _number(clone.fitness),
            _number(clone.gain),
            style="bold" if clone.selected and has_losers else None,
        )
    return table


def _runs(folder: Path) -> Iterator[tuple[str, ...]]:
    for path in _folders(folder):
        try:
            yield _run(path)
        # One damaged run must not hide the others.
        except JournalError as error:
            yield path.name, "damaged", "", "", str(error)[:60]


def _run(path: Path) -> tuple[str, ...]:
    result = load_run(path)
    description = RunFolder(path).description()
    view = RunView.of(result)
    schedule = description["arguments"].get("schedule", {})
    cycles = f"{view.cycles_done}/{schedule.get('c', '?')}"
    best = _number(view.best.value if view.best else None)
    return path.name, result.state, cycles, f"{result.monitor} {best}", _clock(description)


def _clock(description: dict[str, Any]) -> str:
    """Return when a run began, by this computer's clock."""
    try:
        started = datetime.datetime.fromisoformat(str(description.get("started")))
    except ValueError:
        return "–"
    return f"{started.astimezone():%Y-%m-%d %H:%M}"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4g}"
