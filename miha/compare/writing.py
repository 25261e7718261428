"""Files of a comparison: JSON, tables, figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.compare.comparison import FILE, REFERENCE, Comparison
from miha.compare.figures import plot_epochs, plot_scores, plot_seconds
from miha.compare.statistics import Mean
from miha.errors import first_line
from miha.storage.disk import write_whole
from miha.utils.json_values import plain
from miha.utils.optional import MissingPackageError, need

if TYPE_CHECKING:
    import plotly.graph_objects as go

Say = Callable[[str], None]

# Of a PNG in pixels, where the figure names none, and how many each of them becomes.
WIDTH = 1000
SCALE = 2

COLUMNS = ("strategy", "score", "gap", "p", "n", "failed", "epochs", "seconds", "peak MB")


def write(
    comparison: Comparison,
    folder: Path,
    say: Say,
) -> None:
    """Write a comparison into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "about": plain(dict(comparison.about)),
        "skipped": dict(comparison.skipped),
        "cells": [cell.to_dict() for cell in comparison.cells],
    }
    text = json.dumps(found, allow_nan=False, indent=1)
    tables = markdown(comparison)
    write_whole(folder / FILE, text.encode())
    write_whole(folder / "tables.md", tables.encode())
    if not any(cell.has_curve for cell in comparison.cells):
        return
    try:
        figures = {
            "epochs": plot_epochs(comparison),
            "seconds": plot_seconds(comparison),
            "scores": plot_scores(comparison),
        }
    except MissingPackageError as error:
        say(f"No figures: {error}")
        return
    draw(figures, folder, say)


def draw(
    figures: dict[str, go.Figure],
    folder: Path,
    say: Say,
) -> None:
    """Write figures as HTML, and as PNG where Kaleido and a Chrome for it are installed."""
    for name, figure in figures.items():
        figure.write_html(folder / f"{name}.html", include_plotlyjs="directory")
    try:
        need("kaleido", "compare")
        for name, figure in figures.items():
            # The page around a figure has its background, a picture has none.
            figure.update_layout(paper_bgcolor="#ffffff")
            width = figure.layout.width or WIDTH
            figure.write_image(folder / f"{name}.png", width=width, scale=SCALE)
    # Kaleido tells of a missing browser in several ways.
    except Exception as error:
        say(f"No PNG, only HTML: {first_line(error)}")


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown."""
    # The score that counts comes first.
    metrics = {comparison.metric: None}
    for cell in comparison.cells:
        metrics |= dict.fromkeys(cell.scores)

    parts = [_summary(comparison)]
    for start in comparison.starts:
        parts.append(f"## Start: {start}")
        for metric in metrics:
            parts.append(_scores(comparison, start, metric))
        if REFERENCE in comparison.strategies and len(comparison.strategies) > 1:
            parts.append(_equal_seconds(comparison, start))
    if len(comparison.strategies) > 1:
        parts.append(f"## Regret\n\n{_regret(comparison)}")
    notes = _notes(comparison)
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _summary(comparison: Comparison) -> str:
    about = comparison.about
    small = "smaller" if comparison.metric_mode == "min" else "larger"
    circumstances = about.get("circumstances", {})
    things = ", ".join(f"{name} {value}" for name, value in circumstances.items())
    return (
        f"{about['epochs']} trained epochs a cell; networks are picked by {about['monitor']} and "
        f"scored by {comparison.metric}, {small} is better. Mean ± standard error over seeds; p: "
        f"paired t-test, two-sided. {things}."
    )


def _notes(comparison: Comparison) -> list[str]:
    """Return a line for each thing that readers of the tables must know."""
    notes = []
    for name, reason in comparison.skipped.items():
        notes.append(f"- {name}: left out, {reason}.")
    for cell in comparison.cells:
        if cell.failure:
            notes.append(f"- {cell.place}: failed: {cell.failure}")
    for cell in comparison.cells:
        for name, value in cell.scores.items():
            if not math.isfinite(value):
                notes.append(f"- {cell.place}: {name} is not finite.")
    for name, counts in comparison.differing.items():
        text = ", ".join(f"{value} in {count}" for value, count in counts.items())
        notes.append(f"- Not all cells ran alike: {name} was {text}.")
    return notes


def _scores(
    comparison: Comparison,
    start: str,
    metric: str,
) -> str:
    heads = {name: name for name in COLUMNS}
    heads["score"] = metric
    heads["gap"] = f"{REFERENCE} − it"
    # Without MIHA there are no differences to it.
    if REFERENCE not in comparison.strategies:
        del heads["gap"], heads["p"]
    lines = []
    for row in comparison.table(start, metric).to_dict("records"):
        cells = _score_cells(row)
        lines.append([cells[name] for name in heads])
    return _table(list(heads.values()), lines)


def _score_cells(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "strategy": row["strategy"],
        "score": str(Mean(row["score"], row["error"], row["n"])),
        "gap": _gap(row),
        "p": _number(row["p"], 3),
        "n": str(row["n"]),
        "failed": str(row["failed"]),
        "epochs": _number(row["epochs"], 0),
        "seconds": _number(row["seconds"], 1),
        "peak MB": _number(row["memory"], 0),
    }


def _gap(row: Mapping[Any, Any]) -> str:
    gap = Mean(row["difference"], row["difference_error"], row["n"])
    return "–" if math.isnan(gap.value) else str(gap)


def _equal_seconds(
    comparison: Comparison,
    start: str,
) -> str:
    monitor = comparison.about["monitor"]
    heads = ["strategy", monitor, f"{REFERENCE} − it", "p", "n", "epochs"]
    rows = []
    for row in comparison.at_equal_seconds(start).to_dict("records"):
        mean = Mean(row["value"], row["error"], row["n"])
        cells = [
            row["strategy"],
            str(mean),
            _gap(row),
            _number(row["p"], 3),
            str(row["n"]),
            _number(row["epochs"], 0),
        ]
        rows.append(cells)
    text = f"Equal seconds: the best {monitor} when {REFERENCE}'s run of the same seed ended."
    return f"{text}\n\n{_table(heads, rows)}"


def _regret(comparison: Comparison) -> str:
    heads = ["strategy", "regret", "worst", "n", "failed"]
    rows = []
    for row in comparison.regret().to_dict("records"):
        mean = Mean(row["regret"], row["error"], row["n"])
        row["regret"] = str(mean)
        row["worst"] = _number(row["worst"], 4)
        rows.append([str(row[name]) for name in heads])
    starts = ", ".join(comparison.about["random_starts"] or comparison.starts)
    text = (
        f"By how much {comparison.metric} is worse than the best score of any cell, "
        f"{comparison.best_known:.4f}; starts: {starts}."
    )
    return f"{text}\n\n{_table(heads, rows)}"


def _table(
    heads: list[str],
    rows: list[list[str]],
) -> str:
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    lines = [" | ".join(row) for row in (heads, rule, *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _number(value: float | None, digits: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.{digits}f}"
