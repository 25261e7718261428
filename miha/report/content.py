"""What the page shows of a run, as JSON: text stays text, the page escapes it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from miha import visualization as figures
from miha.errors import MihaError
from miha.records import TrainingRecord
from miha.results.summary import last_genes, short, starting_genes, summarize
from miha.results.trials import NO_GENE, RunView, TrainingView
from miha.results.verdict import make_verdict
from miha.storage.folder import RunFolder
from miha.utils.json_values import plain
from miha.utils.optional import need
from miha.visualization.importance import has_importance
from miha.visualization.theme import finite

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

    Plot = Callable[[Result, str], go.Figure]

Values = Mapping[str, Any]

Figure = dict[str, Any]
"""A figure as the page gets it: its name, its caption, and its JSON or why there is none."""

Row = dict[str, Any]
"""A clone in the table, by the names of the columns."""


@dataclass(frozen=True)
class Drawn:
    """How a figure of the page is made.

    Attributes:
        plot: Makes it, of a run and a metric.
        caption: What the page says of it.
        has_metrics: Whether it is another one for each metric.
    """

    plot: Plot
    caption: str
    has_metrics: bool = False


def _history(result: Result, metric: str) -> go.Figure:
    view = result.view
    # A value on new data, and the same one on training data: the gap between them is overfitting.
    twin = metric.removeprefix("val_")
    shown = [name for name in dict.fromkeys([metric, twin]) if name in view.metrics]
    return figures.plot_learning_history(result, shown or None)


def _best(result: Result, metric: str) -> go.Figure:
    return figures.plot_best(result, metric if result.view.trials else None)


FIGURES: Mapping[str, Drawn] = {
    "history": Drawn(
        _history,
        "The main line, dotted where it is a selected clone's, and the other clones' short curves "
        "where they left it. Rings are the clones that were selected, the star is the best "
        "network; at an arrow the run went back to its best network.",
        has_metrics=True,
    ),
    "best": Drawn(
        _best,
        "The best value of a network at the end of a training, over all epochs that were trained, "
        "those of clones that lost among them, and over the seconds of the run. The network to "
        "take may be another one: the best in a metric, or the latest of equally good ones.",
        has_metrics=True,
    ),
    "lineage": Drawn(
        lambda result, _: figures.plot_lineage(result),
        "A column is a cycle: the selected clone on top, then the others by fitness, which is not "
        "all that decides: under the mouse each says why it was selected or not. Below, by how "
        "much each winner was better than the control.",
    ),
    "schedule": Drawn(
        lambda result, _: figures.plot_schedule(result),
        "What the network's hyperparameters were, by epoch.",
    ),
    "gains": Drawn(
        lambda result, _: figures.plot_gains(result),
        "A point is a mutation, a ring one that was selected; diamonds are medians, with their "
        "95 % intervals from five mutations on. Above by kind of mutation, below by what it "
        "brought.",
    ),
    "parallel": Drawn(
        lambda result, _: figures.plot_parallel_coordinate(result),
        "Each clone is a line. Drag along an axis to see some clones alone.",
    ),
    "pairs": Drawn(
        lambda result, _: figures.plot_pairs(result),
        "The two hyperparameters with the most values.",
    ),
    "importance": Drawn(
        lambda result, _: figures.plot_importance(result),
        "How much of the differences in gain each hyperparameter explains, by Optuna's fANOVA.",
    ),
}

ON_DEMAND = "importance"
"""The figure that takes seconds: it is made where it is asked for."""

MOST_GENES = 12
"""Hyperparameters that have a column in the table."""

MOST_METRICS = 12
"""Logged values that can be chosen on a page."""

FIRST_COLUMNS = 7
"""Columns of the table that are always shown; the others are unfolded."""


def content(
    result: Result,
    links: Path | None = None,
    importance: bool = False,
) -> dict[str, Any]:
    """Return everything that the page shows, figures included.

    Args:
        result: A run, finished or not.
        links: The folder that links to archives are relative to; None: the run's own.
        importance: Whether to make the figure that takes seconds.

    Returns:
        Values as JSON can hold them; numbers that are not finite are null.

    Raises:
        JournalError: `run.json` is damaged or gone.
        MissingPackageError: Plotly is not installed.
    """
    need("plotly.graph_objects", "plot")
    found = outline(result, links)
    shown = []
    for figure in found["figures"]:
        is_made = importance or figure["name"] != ON_DEMAND
        if is_made:
            shown.append(_with_metrics(result, figure, found["metrics"]))
    names = [figure["name"] for figure in shown]
    if importance and ON_DEMAND not in names:
        # Who asks for it is told why it is not there.
        shown.append(figure_of(result, ON_DEMAND))
    return found | {"figures": shown}


def outline(
    result: Result,
    links: Path | None = None,
    table: Table | None = None,
) -> dict[str, Any]:
    """Return what the page shows, without the data of its figures: they are made one by one.

    Args:
        result: A run, finished or not.
        links: The folder that links to archives are relative to; None: the run's own.
        table: What remembers the rows of the table while a run grows.

    Raises:
        JournalError: `run.json` is damaged or gone.
    """
    view = result.view
    verdict = make_verdict(result, view)
    description = RunFolder(result.run_dir).description()
    # Runs of older versions lack some of these.
    circumstances: dict[str, Any] = {}
    for name in ("seed", "started", "device", "versions", "fingerprint"):
        if name in description:
            circumstances[name] = description[name]
    gains = [clone for clone in view.clones if clone.gain is not None]
    names = [name for name in FIGURES if name != ON_DEMAND or has_importance(len(gains))]
    return {
        "title": result.run_dir.absolute().name,
        "folder": str(result.run_dir.absolute()),
        "state": result.state,
        "verdict": {"sentences": verdict.sentences, "commands": verdict.commands},
        "summary": summarize(result, view),
        "genes": _genes(view, description),
        "metrics": metrics_to_choose(view),
        "figures": [{"name": name, "caption": FIGURES[name].caption} for name in names],
        "table": (table or Table()).shown(view, result, links or result.run_dir),
        "arguments": list(pairs(description.get("arguments", {}))),
        "versions": list(pairs(circumstances)),
    }


def metrics_to_choose(view: RunView) -> list[str]:
    """Return the logged values to choose from: of a value and its twin on new data, the latter."""
    logged = view.metrics
    return [name for name in logged if f"val_{name}" not in logged][:MOST_METRICS]


def figure_of(result: Result, name: str, metric: str | None = None) -> Figure:
    """Return a figure, or why there is none.

    Args:
        result: A run, finished or not.
        name: Which of `FIGURES`.
        metric: The logged value that it shows, where it shows one; None: the monitored one.
    """
    drawn = FIGURES[name]
    return named_figure(name, drawn.caption, lambda: drawn.plot(result, metric or result.monitor))


def named_figure(name: str, caption: str, plot: Callable[[], go.Figure]) -> Figure:
    """Return a figure as the page gets it, or why there is none."""
    found: Figure = {"name": name, "caption": caption}
    try:
        # Through Plotly's JSON, which makes lists of numpy's arrays.
        found["figure"] = json.loads(plot().to_json())
    except (MihaError, ImportError) as error:
        found["message"] = str(error)
    return found


def _with_metrics(result: Result, figure: Figure, metrics: Sequence[str]) -> Figure:
    """Return a figure for the monitored value, with the others that can be chosen."""
    name = figure["name"]
    found = figure_of(result, name)
    if FIGURES[name].has_metrics:
        others = [metric for metric in metrics if metric != result.monitor]
        found["others"] = {metric: figure_of(result, name, metric) for metric in others}
    return found


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


class Table:
    """The table of all clones; rows that cannot change any more are made once."""

    def __init__(self) -> None:
        # With the record that a row was made of: another run has others.
        self._rows: dict[tuple[int | None, int | None], tuple[TrainingRecord, list[Any]]] = {}
        self._made_for: Any = None

    def shown(self, view: RunView, result: Result, links: Path) -> dict[str, Any]:
        """Return the table as the page gets it, with a link to each archive that is there.

        Args:
            view: The run.
            result: The same run.
            links: The folder that links to archives are relative to.
        """
        genes = view.varied[:MOST_GENES]
        others = [name for name in metrics_to_choose(view) if name != view.monitor]
        # At its end a run may delete archives, and another gene may have its first new value.
        made_for = (genes, others, result.state, links)
        if made_for != self._made_for:
            self._rows.clear()
            self._made_for = made_for
        make = _RowMaker(view, result.run_dir, links, genes, others)
        rows = []
        for clone in view.clones:
            key = (clone.cycle, clone.clone)
            record, row = self._rows.get(key, (None, []))
            if record is not clone.record:
                values = make(clone)
                row = [values[name] for name in make.columns]
            if clone.is_settled:
                self._rows[key] = (clone.record, row)
            rows.append(row)
        return {
            "columns": make.columns,
            "first": FIRST_COLUMNS + len(others),
            "rows": rows,
        }


class _RowMaker:
    """Makes the rows of the table.

    Args:
        view: The run.
        folder: The run's.
        links: The folder that links to archives are relative to.
        genes: The hyperparameters that have a column.
        metrics: The logged values that have a column, the monitored one aside.
    """

    def __init__(
        self, view: RunView, folder: Path, links: Path, genes: list[str], metrics: list[str]
    ) -> None:
        self._genes = genes
        self._metrics = metrics
        self._monitor = view.monitor
        relative = os.path.relpath(folder.absolute(), links.absolute())
        prefix = "" if relative == "." else f"{relative}/"
        # Links have slashes on Windows as well.
        self._prefix = prefix.replace(os.sep, "/")
        self._archives = set(_archives(folder))
        first = ["selected", "gain", "kind", view.monitor, *metrics, "mutation", "cycle", "clone"]
        # What a reader looks for first comes first.
        last = ["reason", "failure", *genes, "seconds", "archive"]
        if view.shows_fitness:
            last.insert(0, "fitness")
        self.columns = list(dict.fromkeys([*first, *last]))

    def __call__(self, clone: TrainingView) -> Row:
        """Return the row of a clone."""
        values: Row = {name: _cell(clone.genes.get(name)) for name in self._genes}
        for name in self._metrics:
            curve = clone.curve(name)
            values[name] = finite(curve[-1]) if curve else None
        name = clone.archive or ""
        link = quote(self._prefix + name) if name in self._archives else None
        return values | {
            "selected": "selected" if clone.selected else "",
            "gain": finite(clone.gain),
            "kind": "control" if clone.gene == NO_GENE else clone.gene,
            self._monitor: finite(clone.value),
            "mutation": clone.change,
            "cycle": clone.cycle,
            "clone": clone.clone,
            "fitness": finite(clone.fitness),
            "reason": clone.reason,
            "failure": clone.failure or "",
            "seconds": round(clone.seconds, 3),
            "archive": {"text": name, "link": link},
        }


def _archives(folder: Path) -> Iterator[str]:
    """Yield the names of the archives that a run's folder has."""
    for part in ("model", "population"):
        # Their folder is gone where none was kept.
        with contextlib.suppress(OSError):
            for name in os.listdir(folder / part):
                if name.endswith(".zip"):
                    yield f"{part}/{name}"


def _cell(value: Any) -> Any:
    return finite(value) if isinstance(value, float) else plain(value)


def pairs(values: Values, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and text of each value, those within others as ``outer.inner``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from pairs(value, f"{prefix}{name}.")
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
