"""A run on a terminal: in words, with its lineage."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError
from miha.report.listing import folders_of_runs
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
        runs = folders_of_runs(place)
        if runs:
            example = f", such as {str(runs[-1])!r}; `miha list` shows those of a folder"
            break
    state = "holds none" if folder.exists() else "is not there"
    raise JournalError(
        f"A run's folder must hold its `run.json`. Received: {str(folder)!r}, which {state}. "
        f"Name the folder of a run{example}."
    )


def print_run(folder: Path, every: bool = False) -> None:
    """Print a run's summary and its lineage.

    Args:
        folder: The run's.
        every: Whether to print every clone, and not the winners only.

    Raises:
        JournalError: The folder holds no run, or it is damaged.
    """
    result = load_run(folder)
    console = Console(highlight=False)
    for text in summarize(result):
        console.print(escape(text), end="\n\n")
    view = RunView.of(result)
    clones = view.clones
    if not every:
        clones = [clone for clone in clones if clone.selected]
    if clones:
        console.print(_lineage(view, clones))


def _lineage(view: RunView, clones: list[TrainingView]) -> Table:
    has_losers = len(clones) > len(view.winners)
    table = Table(title="All clones" if has_losers else "Who won each cycle")
    for name in ("cycle", "clone", "mutation", view.monitor, "fitness", "gain"):
        is_text = name == "mutation"
        table.add_column(escape(name), justify="left" if is_text else "right")
    for clone in clones:
        table.add_row(
            str(clone.cycle),
            str(clone.clone),
            escape(clone.change),
            _number(clone.value),
            _number(clone.fitness),
            _number(clone.gain),
            style="bold" if clone.selected and has_losers else None,
        )
    return table


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4g}"
