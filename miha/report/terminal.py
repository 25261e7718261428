"""A run on a terminal: in words, with its lineage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import JournalError, MihaError
from miha.report.listing import folders_of_runs
from miha.results.reader import load_run
from miha.results.summary import summarize
from miha.results.trials import RunView, TrainingView
from miha.results.verdict import Verdict, make_verdict
from miha.storage.folder import RunFolder

NARROW = 80
"""Columns of a terminal below which a table has no lines between its columns."""

WIDE = 120
"""Columns of a terminal from which on a reason has a column of its own."""


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


def print_run(folder: Path, every: bool = False, metrics: Sequence[str] = ()) -> None:
    """Print the verdict on a run, its summary and its lineage.

    Args:
        folder: The run's.
        every: Whether to print every clone, and not the winners only.
        metrics: Logged values that have a column beside the monitored one.

    Raises:
        JournalError: The folder holds no run, or it is damaged.
        MihaError: A metric was not logged.
    """
    result = load_run(folder)
    view = RunView.of(result)
    _check_metrics(view, metrics)
    console = Console(highlight=False)
    _print_verdict(console, make_verdict(result, view))
    for text in summarize(result, view):
        console.print(escape(text), end="\n\n")
    clones = view.clones
    if not every:
        clones = [clone for clone in clones if clone.selected]
    others = [name for name in dict.fromkeys(metrics) if name != view.monitor]
    if clones or view.rests:
        console.print(_lineage(view, clones, others, every, console.width))


def _check_metrics(view: RunView, metrics: Sequence[str]) -> None:
    unknown = [name for name in metrics if name not in view.metrics]
    if unknown:
        raise MihaError(
            f"`--metric` must name a value that was logged: {', '.join(view.metrics) or 'none'}. "
            f"Received: {', '.join(unknown)}. Choose one of those."
        )


def _print_verdict(console: Console, verdict: Verdict) -> None:
    if verdict.sentences:
        console.rule("Verdict", align="left")
    for text in verdict.sentences:
        console.print(escape(text))
    for what, line in verdict.commands.items():
        # A line that is to be copied is not broken.
        console.print(f"{what}:\n  {escape(line)}", soft_wrap=True)
    if verdict.sentences:
        console.rule()


def _lineage(
    view: RunView,
    clones: list[TrainingView],
    metrics: Sequence[str],
    every: bool,
    width: int,
) -> Table:
    """Return a table of clones and of the cycles in which the network trained alone.

    Args:
        view: The run's.
        clones: Those to show.
        metrics: Logged values that have a column beside the monitored one.
        every: Whether they are all of the run's.
        width: Columns of the terminal.
    """
    # In a narrow terminal a reason stands below its mutation, and lines would take its room.
    is_wide = width >= WIDE
    title = "All clones" if every else "Who won each cycle, and why"
    table = Table(title=title, box=box.SIMPLE_HEAD if width < NARROW else box.HEAVY_HEAD)
    names = ["cycle", "clone", "mutation", view.monitor, *metrics, "gain"]
    names += ["fitness"] * view.shows_fitness
    names += ["reason"] * is_wide
    for name in names:
        is_text = name in ("mutation", "reason")
        table.add_column(escape(name), justify="left" if is_text else "right")

    trials = sorted([*clones, *view.rests], key=lambda trial: trial.cycle or 0)
    for trial in trials:
        style = "bold" if trial.selected and every else None
        table.add_row(*_cells(view, trial, metrics, is_wide), style=style)
    return table


def _cells(
    view: RunView,
    trial: TrainingView,
    metrics: Sequence[str],
    is_wide: bool,
) -> list[str]:
    change = trial.change
    reason = trial.reason
    if not trial.is_clone:
        change = "the network alone"
        reason = view.rest_reasons.get(trial.cycle or 0, "")
    if reason and not is_wide:
        change = f"{change}\n→ {reason}"
    clone = "–" if trial.clone is None else str(trial.clone)
    cells = [str(trial.cycle), clone, change, _number(trial.value)]
    cells += [_last(trial.curve(name)) for name in metrics]
    cells.append(_gain(trial.gain))
    cells += [_number(trial.fitness)] * view.shows_fitness
    cells += [reason] * is_wide
    return [escape(cell) for cell in cells]


def _last(curve: Sequence[float]) -> str:
    return _number(curve[-1] if curve else None)


def _gain(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:+.3g}" if value else "0"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4g}"
