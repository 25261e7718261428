"""What the page shows of a run, as JSON: text stays text, the page escapes it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from miha import visualization as figures
from miha.errors import MihaError
from miha.results.story import Story
from miha.results.summary import last_genes, short, starting_genes, summarize
from miha.results.trials import NO_GENE, Trial
from miha.storage.folder import RunFolder
from miha.utils.json_values import plain
from miha.utils.optional import need

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

FIGURES: Mapping[str, tuple[Callable[[Result], go.Figure], str]] = {
    "history": (
        figures.plot_learning_history,
        "The main line, and the clones' short curves where they left it. Triangles are the "
        "mutations that were selected; at an arrow the run went back to its best network.",
    ),
    "lineage": (
        figures.plot_lineage,
        "A column is a cycle, the fittest clone on top, what goes on or joins to its right. "
        "Below, by how much each winner was fitter than the unchanged clone.",
    ),
    "schedule": (figures.plot_schedule, "What the network's hyperparameters were, by epoch."),
    "gains": (
        figures.plot_gains,
        "A point is a mutation; diamonds are medians with their 95 % intervals. Above by kind of "
        "mutation, below by what it brought.",
    ),
    "parallel": (
        figures.plot_parallel_coordinate,
        "Each clone is a line. Drag along an axis to see some clones alone.",
    ),
    "pairs": (figures.plot_pairs, "The two hyperparameters with the most values."),
    "importance": (
        figures.plot_importance,
        "How much of the differences in gain each hyperparameter explains, by Optuna's fANOVA.",
    ),
}

MOST_GENES = 12
"""Hyperparameters that have a column in the table."""

SLOW = "importance"
"""The figure that takes a second, where all others together take less."""


def content(
    result: Result,
    links: Path | None = None,
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return everything that the page shows.

    Args:
        result: A run, finished or not.
        links: The folder that links to archives are relative to; None: the run's own.
        kept: Figures to show as they were made earlier, by name.

    Returns:
        Values as JSON can hold them; numbers that are not finite are null.

    Raises:
        JournalError: `run.json` is damaged or gone.
        MissingPackageError: Plotly is not installed.
    """
    need("plotly.graph_objects", "plot")
    story, description = Story.of(result), RunFolder(result.run_dir).description()
    return {
        "title": result.run_dir.absolute().name,
        "folder": str(result.run_dir.absolute()),
        "state": result.state,
        "summary": summarize(result),
        "genes": _genes(story, description),
        "figures": [(kept or {}).get(name) or _figure(result, name) for name in FIGURES],
        "table": _table(story, result.run_dir, links or result.run_dir),
        "arguments": list(_pairs(description.get("arguments", {}))),
        "versions": list(_pairs(_circumstances(description))),
    }


def _genes(story: Story, description: Mapping[str, Any]) -> list[list[str]]:
    """Return name, first and last value of each hyperparameter, the changed ones first."""
    start, end = starting_genes(story, description), last_genes(story)
    rows = [[n, short(start.get(n)), short(end.get(n))] for n in dict.fromkeys([*start, *end])]
    return sorted(rows, key=lambda row: row[1] == row[2])


def _figure(result: Result, name: str) -> dict[str, Any]:
    """Return a figure, or why there is none."""
    make, caption = FIGURES[name]
    found: dict[str, Any] = {"name": name, "caption": caption}
    try:
        return found | {"figure": json.loads(make(result).to_json())}
    except MihaError as error:
        return found | {"message": str(error)}


def _table(story: Story, folder: Path, links: Path) -> dict[str, Any]:
    genes = story.varied[:MOST_GENES]
    names = ["cycle", "clone", "mutation", "kind", story.monitor, "fitness", "gain", "selected"]
    relative = os.path.relpath(folder.absolute(), links.absolute()).replace(os.sep, "/")
    prefix = "" if relative == "." else f"{relative}/"
    there = {str(path.relative_to(folder).as_posix()) for path in folder.glob("*/*.zip")}
    return {
        "columns": [*names, "archive", *genes, "seconds", "failure"],
        "rows": [_row(clone, genes, prefix, there) for clone in story.clones],
    }


def _row(clone: Trial, genes: list[str], prefix: str, there: set[str]) -> list[Any]:
    archive = clone.archive
    link = quote(prefix + archive) if archive in there and archive is not None else None
    return [
        clone.cycle,
        clone.clone,
        clone.change,
        "unchanged" if clone.gene == NO_GENE else clone.gene,
        _finite(clone.value),
        _finite(clone.fitness),
        _finite(clone.gain),
        "selected" if clone.selected else "late" if clone.late else "",
        {"text": archive or "", "link": link},
        *(_cell(clone.genes.get(name)) for name in genes),
        round(clone.seconds, 3),
        clone.failure or "",
    ]


def _cell(value: Any) -> Any:
    return _finite(value) if isinstance(value, float) else plain(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _circumstances(description: Mapping[str, Any]) -> dict[str, Any]:
    names = ("seed", "started", "device", "versions", "fingerprint")
    return {name: description[name] for name in names if name in description}


def _pairs(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each value, those within others as ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(_text(item) for item in value)
        else:
            yield prefix + name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = [f"{k}={v}" for k, v in value.items() if k != "class" and v is not None]
        return f"{value.get('class', '')}({', '.join(inner)})"
    return str(value)
