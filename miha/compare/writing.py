"""Files of a comparison: JSON, tables, figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.compare.comparison import FILE, REFERENCE, Comparison
from miha.compare.records import Place
from miha.compare.statistics import Mean
from miha.errors import first_line
from miha.storage.disk import write_whole
from miha.utils.json_values import plain
from miha.utils.optional import MissingPackageError, need

if TYPE_CHECKING:
    import plotly.graph_objects as go

Say = Callable[[str], None]
WIDTH, SCALE = 1000, 2
"""Of PNG, in pixels, and how many pixels each of them becomes."""


def write(comparison: Comparison, folder: Path, say: Say) -> None:
    """Write a comparison into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(described(comparison), allow_nan=False, indent=1)
    write_whole(folder / FILE, text.encode())
    write_whole(folder / "tables.md", comparison.to_markdown().encode())
    if any(cell.curve and not cell.failure for cell in comparison.cells):
        try:
            figures = {
                "epochs": comparison.plot_epochs(),
                "seconds": comparison.plot_seconds(),
                "scores": comparison.plot_scores(),
            }
        except MissingPackageError as error:
            say(f"No figures: {error}")
            return
        draw(figures, folder, say)


def draw(figures: dict[str, go.Figure], folder: Path, say: Say, width: int = WIDTH) -> None:
    """Write figures as HTML, and as PNG where Kaleido and a Chrome for it are installed.

    Args:
        figures: By the names of their files.
        folder: It must be there.
        say: Receives a line where there are no pictures.
        width: Of the PNG, in pixels.
    """
    for name, figure in figures.items():
        figure.write_html(folder / f"{name}.html", include_plotlyjs="directory")
    try:
        need("kaleido", "compare")
        for name, figure in figures.items():
            figure.update_layout(paper_bgcolor="#ffffff")
            figure.write_image(folder / f"{name}.png", width=width, scale=SCALE)
    except Exception as error:  # Kaleido tells of a missing browser in several ways.
        say(f"No PNG, only HTML: {first_line(error)}")


def described(comparison: Comparison) -> dict[str, Any]:
    """Return what the JSON file holds: enough to make all tables and figures again."""
    cells = [cell.to_dict() for cell in comparison.cells]
    about = plain(dict(comparison.about))
    return {"about": about, "skipped": dict(comparison.skipped), "cells": cells}


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown."""
    metrics = [comparison.metric, *(m for m in _metrics(comparison) if m != comparison.metric)]
    parts = [_told(comparison)]
    for start in comparison.starts:
        parts += [f"## Start: {start}", *(_scores(comparison, start, m) for m in metrics)]
    parts += [f"## Regret\n\n{_regret(comparison)}"] if len(comparison.strategies) > 1 else []
    notes = [f"- {name}: left out, {reason}." for name, reason in comparison.skipped.items()]
    notes += [f"- {c.place}: failed: {c.failure}" for c in comparison.cells if c.failure]
    notes += [f"- {place}: {metric} is not finite." for place, metric in _not_finite(comparison)]
    notes += [
        f"- Not all cells ran alike: {name} was {_counted(counts)}."
        for name, counts in comparison.differing.items()
    ]
    parts += ["\n".join(notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def _not_finite(comparison: Comparison) -> list[tuple[Place, str]]:
    return [
        (cell.place, name)
        for cell in comparison.cells
        for name, value in cell.scores.items()
        if not math.isfinite(value)
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value} in {count}" for value, count in counts.items())


def _metrics(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(name for cell in comparison.cells for name in cell.scores))


def _told(comparison: Comparison) -> str:
    about = comparison.about
    small = "smaller" if comparison.metric_mode == "min" else "larger"
    things = ", ".join(f"{k} {v}" for k, v in about.get("circumstances", {}).items())
    return (
        f"{about['epochs']} trained epochs a cell; networks are picked by {about['monitor']} and "
        f"scored by {comparison.metric}, {small} is better. Mean ± standard error over seeds; p: "
        f"paired t-test, two-sided. {things}."
    )


def _scores(comparison: Comparison, start: str, metric: str) -> str:
    table = comparison.table(start, metric)
    has_gap = REFERENCE in comparison.strategies
    heads = ["strategy", metric, *([f"{REFERENCE} − it", "p"] if has_gap else []), "n"]
    heads += ["failed", "epochs", "seconds", "peak MB", "lines"]
    rows = []
    for row in table.to_dict("records"):
        mean = Mean(row["score"], row["error"], row["n"])
        gap = Mean(row["difference"], row["difference_error"], row["n"])
        paired = ["–" if math.isnan(gap.value) else str(gap), _number(row["p"], 3)]
        cells = [row["strategy"], str(mean), *(paired if has_gap else []), str(row["n"])]
        cells += [str(row["failed"]), _number(row["epochs"], 0), _number(row["seconds"], 1)]
        rows.append([*cells, _number(row["memory"], 0), str(row["lines"])])
    return _table(heads, rows)


def _regret(comparison: Comparison) -> str:
    where = comparison.about["random_starts"] or comparison.starts
    rows = [
        [row["strategy"], str(Mean(row["regret"], row["error"], row["n"]))]
        + [_number(row["worst"], 4), str(row["n"]), str(row["failed"])]
        for row in comparison.regret().to_dict("records")
    ]
    head = (
        f"By how much {comparison.metric} is worse than the best score of any cell, "
        f"{comparison.best_known:.4f}; starts: {', '.join(where)}."
    )
    return f"{head}\n\n{_table(['strategy', 'regret', 'worst', 'n', 'failed'], rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *rows))


def _number(value: float, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
