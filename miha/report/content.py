"""What the page shows of a run, as JSON: text stays text, the page escapes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from miha import visualization as figures
from miha.errors import MihaError
from miha.results.summary import last_genes, short, starting_genes, summarize
from miha.results.trials import NO_GENE, RunView, TrainingView
from miha.results.verdict import make_verdict
from miha.storage.folder import RunFolder
from miha.utils.json_values import plain
from miha.utils.optional import need
from miha.visualization.theme import finite

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

    Plot = Callable[[Result], go.Figure]

Values = Mapping[str, Any]

Figure = dict[str, Any]
"""A figure as the page gets it: its name, its caption, and its JSON or why there is none."""

FIGURES: Mapping[str, tuple[Plot, str]] = {
    "history": (
        figures.plot_learning_history,
        "The main line, and the clones' short curves where they left it. Triangles are the "
        "mutations that were selected; at an arrow the run went back to its best network.",
    ),
    "lineage": (
        figures.plot_lineage,
        "A column is a cycle: the selected clone on top, then the others by fitness, which is not "
        "all that decides: under the mouse each says why it was selected or not. Below, by how "
        "much each winner was better than the control.",
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
    kept: Mapping[str, Figure] | None = None,
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
    view = RunView.of(result)
    verdict = make_verdict(result)
    description = RunFolder(result.run_dir).description()
    shown = dict(kept or {})
    for name in FIGURES:
        if not shown.get(name):
            shown[name] = _figure(result, name)

    # Runs of older versions lack some of these.
    circumstances = {}
    for name in ("seed", "started", "device", "versions", "fingerprint"):
        if name in description:
            circumstances[name] = description[name]
    return {
        "title": result.run_dir.absolute().name,
        "folder": str(result.run_dir.absolute()),
        "state": result.state,
        "verdict": {"sentences": verdict.sentences, "commands": verdict.commands},
        "summary": summarize(result),
        "genes": _genes(view, description),
        "figures": [shown[name] for name in FIGURES],
        "table": _table(view, result.run_dir, links or result.run_dir),
        "arguments": list(_pairs(description.get("arguments", {}))),
        "versions": list(_pairs(circumstances)),
    }


def _genes(view: RunView, description: Values) -> list[list[str]]:
    """Return name, first and last value of each hyperparameter, the changed ones first."""
    start = starting_genes(view, description)
    end = last_genes(view)
    rows = []
    for name in dict.fromkeys([*start, *end]):
        first = short(start.get(name))
        last = short(end.get(name))
        rows.append([name, first, last])
    return sorted(rows, key=lambda row: row[1] == row[2])


def _figure(result: Result, name: str) -> Figure:
    """Return a figure, or why there is none."""
    make, caption = FIGURES[name]
    found: Figure = {"name": name, "caption": caption}
    try:
        # Through Plotly's JSON, which makes lists of numpy's arrays.
        figure = make(result).to_json()
        found["figure"] = json.loads(figure)
    except MihaError as error:
        found["message"] = str(error)
    return found


def _table(
    view: RunView,
    folder: Path,
    links: Path,
) -> dict[str, Any]:
    """Return the table of all clones, with a link to each archive that is still there."""
    relative = os.path.relpath(folder.absolute(), links.absolute())
    prefix = "" if relative == "." else f"{relative}/"
    # Links have slashes on Windows as well.
    prefix = prefix.replace(os.sep, "/")
    archives = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.zip")}

    genes = view.varied[:MOST_GENES]
    rows = []
    for clone in view.clones:
        name = clone.archive or ""
        link = quote(prefix + name) if name in archives else None
        rows.append(_row(view, clone, genes, {"text": name, "link": link}))
    return {
        "columns": [
            "cycle",
            "clone",
            "mutation",
            "kind",
            view.monitor,
            "gain",
            *["fitness"] * view.shows_fitness,
            "selected",
            "reason",
            "archive",
            *genes,
            "seconds",
            "failure",
        ],
        "rows": rows,
    }


def _row(
    view: RunView,
    clone: TrainingView,
    genes: list[str],
    archive: Values,
) -> list[Any]:
    return [
        clone.cycle,
        clone.clone,
        clone.change,
        "control" if clone.gene == NO_GENE else clone.gene,
        finite(clone.value),
        finite(clone.gain),
        *[finite(clone.fitness)] * view.shows_fitness,
        "selected" if clone.selected else "",
        clone.reason,
        archive,
        *[_cell(clone.genes.get(name)) for name in genes],
        round(clone.seconds, 3),
        clone.failure or "",
    ]


def _cell(value: Any) -> Any:
    return finite(value) if isinstance(value, float) else plain(value)


def _pairs(values: Values, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each value, those within others as ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            texts = map(_text, value)
            yield prefix + name, ", ".join(texts)
        else:
            yield prefix + name, _text(value)


def _text(value: Any) -> str:
    """Return a value as text; a described object as a call of its class."""
    if not isinstance(value, Mapping):
        return str(value)
    arguments = []
    for name, argument in value.items():
        if name != "class" and argument is not None:
            arguments.append(f"{name}={argument}")
    return f"{value.get('class', '')}({', '.join(arguments)})"
