"""The learning history: the main line, and the clones' short curves where they left it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from miha.errors import MihaError
from miha.results.trials import RunView, TrainingView
from miha.visualization.theme import (
    BEST,
    FAINT,
    MAIN,
    OUTLINE,
    RETURN,
    VERMILION,
    Axis,
    Trace,
    bounds,
    clones_of_kinds,
    colour,
    describe,
    figure,
    finite,
    label,
    log_axis,
    number,
    points,
    rings,
    safe,
    symbol,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

WIDE = 20.0
"""From the ratio of the largest to the smallest on, values are shown on a logarithmic axis."""

STEEP = 4.0
"""A ratio from which on an axis may be logarithmic, if most values lie near its end."""

NEAR_END = 0.15
"""A share of a linear axis; where half of the values lie within it, they look all the same."""

MOST_BORDERS = 120
"""Cycles beyond which their borders would be a grey wall."""

CROWD = 20
"""Selected clones beyond which their marks are small."""

MANY = 400
"""Clones beyond which only the first panel has points for the mouse: a page must be quick."""


def plot_learning_history(
    result: Result,
    metrics: Sequence[str] | None = None,
) -> go.Figure:
    """Plot loss and monitored value over the epochs of the main line.

    The line is solid where the network itself trained, and dotted where it is a selected clone's
    epochs. The other clones' curves are faint branches where they left it; under the mouse, they
    name their mutation. Rings are the clones that were selected, a star is the best network.
    Where the run went back to its best network, the line continues from that network at an arrow;
    where a restart was selected, it begins again.

    Args:
        result: A run, finished or not.
        metrics: Names of logged values, one for each panel; by default the monitored one and the
            training loss.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: No such value was logged.
        MissingPackageError: Plotly is not installed.
    """
    view = result.view
    names = choose_metrics(view, metrics)
    data: list[Trace] = []
    axes: dict[str, Axis] = {}
    for row, name in enumerate(names, start=1):
        is_first = row == 1
        has_points = is_first or len(view.clones) <= MANY
        suffix = "" if is_first else str(row)
        for trace in _panel(view, name, has_points):
            trace["xaxis"] = "x"
            trace["yaxis"] = f"y{suffix}"
            # One legend is enough for all panels.
            if not is_first:
                trace["showlegend"] = False
            data.append(trace)
        axes[f"yaxis{suffix}"] = _y_axis(view, name, row, len(names))
    return figure(
        data,
        title=title("Learning history"),
        height=300 + 220 * len(names),
        xaxis={
            "title": {"text": "epochs of the main line"},
            "anchor": "free",
            "position": 0,
            "rangemode": "tozero",
            "showgrid": False,
            "minor": _cycle_borders(view),
        },
        **axes,
    )


def choose_metrics(view: RunView, metrics: Sequence[str] | None) -> list[str]:
    """Return the logged values to show: those named, else the monitored one and the loss.

    Raises:
        MihaError: One was not logged.
    """
    if metrics is None:
        shown = [view.monitor]
        if "loss" in view.metrics and view.monitor != "loss":
            shown.append("loss")
        return shown
    unknown = [name for name in metrics if name not in view.metrics]
    if unknown or not metrics:
        raise MihaError(
            f"`metrics` must name values that were logged: {view.metrics}. "
            f"Received: {list(metrics)}. Choose some of those."
        )
    return list(metrics)


def _panel(
    view: RunView,
    name: str,
    has_points: bool,
) -> list[Trace]:
    traces: list[Trace] = []
    for kind, clones in clones_of_kinds(view).items():
        branches = [clone for clone in clones if _has_place(clone) and not clone.selected]
        if not branches:
            continue
        traces.append(_legend_entry(kind))
        traces.append(_curves(view, name, branches))
        if has_points:
            traces.append(_ends(view, name, branches))
    traces += _main_line(view, name)
    selected = [clone for clone in view.winners.values() if _has_place(clone)]
    if selected:
        traces += _selected(view, name, selected)
    if view.returns:
        traces.append(_returns(view, name))
    if view.best_network is not None and _has_place(view.best_network):
        traces.append(_best(view, name, view.best_network))
    return traces


def _has_place(clone: TrainingView) -> bool:
    # One that failed in its first epoch has none. A child of two clones has no epochs, but a value.
    return bool(clone.logs) or math.isfinite(clone.value)


def _main_line(view: RunView, name: str) -> list[Trace]:
    """Return the network's own epochs, and those of the clones that were selected."""
    own = _no_line(name, "main line", "solid")
    clones = _no_line(name, "epochs of selected clones", "dot")
    end: tuple[int, float | None] | None = None
    for trial in view.main_line:
        values = [finite(value) for value in trial.curve(name)]
        if not values:
            continue
        about = f"<b>{safe(trial.name)}</b>"
        if trial.is_clone:
            about = describe(view, trial)
        base = view.returns.get(trial.start)
        if base is not None:
            # The line continues from the older network that the run went back to.
            end = trial.start, _last(view, base, name)
        if trial.record.change.is_restart:
            # Fresh weights do not continue what was before.
            end = None

        line = clones if trial.is_clone else own
        if end is not None and end[0] == trial.start:
            _draw(line, [end[0]], [end[1]], about)
        # The whole line shows the mutation under the mouse, not its symbol only.
        _draw(line, range(trial.start + 1, trial.end + 1), values, about)
        # A gap, or the line would go on to the next training.
        _draw(line, [None], [None], "")
        end = trial.end, values[-1]
    return [line for line in (own, clones) if line["x"]]


def _no_line(name: str, label: str, dash: str) -> Trace:
    """Return a trace for a part of the main line, without epochs."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": [],
        "y": [],
        "text": [],
        "hovertemplate": f"%{{text}}<br>epoch %{{x}}: {safe(name)} %{{y:.4g}}<extra></extra>",
        "line": {"color": MAIN, "width": 2.5, "dash": dash},
    }


def _draw(
    line: Trace,
    epochs: Iterable[int | None],
    values: Sequence[float | None],
    text: str,
) -> None:
    line["x"] += epochs
    line["y"] += values
    line["text"] += [text] * len(values)


def _legend_entry(kind: str) -> Trace:
    """Return a point that is nowhere: the curves are too faint to stand in the legend."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "legendgroup": kind,
        "name": label(kind),
        "showlegend": True,
        "marker": _marker(kind, size=9),
    }


def _marker(kind: str, size: int) -> Trace:
    return {
        "color": colour(kind),
        "symbol": symbol(kind),
        "size": size,
    }


def _opacity(view: RunView) -> float:
    share = 25 / len(view.clones)
    return max(0.25, min(0.5, share))


def _curves(
    view: RunView,
    name: str,
    clones: list[TrainingView],
) -> Trace:
    """Return the curves of clones of one kind, from where they left the main line."""
    x: list[int | None] = []
    y: list[float | None] = []
    for clone in clones:
        base = view.parent(clone)
        x += range(clone.start, clone.end + 1)
        y.append(None if base is None else _last(view, base, name))
        y += map(finite, clone.curve(name))
        # A gap, or the line would go on to the next clone.
        x.append(None)
        y.append(None)
    kind = clones[0].gene
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "legendgroup": kind,
        "name": label(kind),
        "showlegend": False,
        "hoverinfo": "skip",
        "opacity": _opacity(view),
        "line": {"color": colour(kind), "width": 1},
    }


def _ends(view: RunView, name: str, clones: list[TrainingView]) -> Trace:
    """Return the ends of the curves of clones of one kind."""
    kind = clones[0].gene
    return {
        **_points(view, name, clones),
        "legendgroup": kind,
        "name": label(kind),
        "showlegend": False,
        "opacity": min(1.0, 2 * _opacity(view)),
        "marker": _marker(kind, size=5),
    }


def _points(view: RunView, name: str, clones: list[TrainingView]) -> Trace:
    """Return the ends of clones' curves, which show their mutation under the mouse."""
    x = [clone.end for clone in clones]
    y = [_last(view, clone, name) for clone in clones]
    text = [describe(view, clone) for clone in clones]
    return points(x, y, text)


def _selected(view: RunView, name: str, clones: list[TrainingView]) -> list[Trace]:
    """Return the clones that were selected: their symbols, with a ring around each."""
    trace = _points(view, name, clones)
    trace["showlegend"] = False
    # Rings of neighbouring cycles must not hide the line.
    is_crowded = len(clones) > CROWD
    trace["marker"] = {
        "symbol": [symbol(clone.gene) for clone in clones],
        "size": 6 if is_crowded else 9,
        "color": [colour(clone.gene) for clone in clones],
    }
    return [trace, rings(trace["x"], trace["y"], size=10 if is_crowded else 15)]


def _best(view: RunView, name: str, best: TrainingView) -> Trace:
    """Return the mark of the best network."""
    trace = _points(view, name, [best])
    trace["text"] = [f"<b>the best network</b><br>{text}" for text in trace["text"]]
    trace["name"] = "best network"
    trace["marker"] = {"symbol": BEST, "size": 14, "color": VERMILION, "line": OUTLINE}
    return trace


def _returns(view: RunView, name: str) -> Trace:
    """Return where the run went back to its best network."""
    epochs: list[int] = []
    values: list[float | None] = []
    texts: list[str] = []
    for epoch, base in view.returns.items():
        epochs.append(epoch)
        values.append(_last(view, base, name))
        value = f"{safe(view.monitor)} {number(base.value)}"
        texts.append(f"<b>back to {safe(base.name)}</b><br>{value}")
    trace = points(epochs, values, texts)
    trace["name"] = "back to the best network"
    trace["marker"] = {"symbol": RETURN, "size": 12, "color": MAIN, "line": OUTLINE}
    return trace


def _cycle_borders(view: RunView) -> Axis:
    """Return a thin line where each cycle begins; a grid is quicker to draw than shapes."""
    step = 1 + len(view.starts) // MOST_BORDERS
    return {
        "tickvals": view.starts[::step],
        "showgrid": True,
        "gridcolor": FAINT,
        "griddash": "dot",
    }


def _y_axis(
    view: RunView,
    name: str,
    row: int,
    rows: int,
) -> Axis:
    height = 1 / rows
    top = 1 - (row - 1) * height
    gap = 0.04 if row < rows else 0.0
    axis: Axis = {
        "title": {"text": safe(name, 30)},
        "domain": [top - height + gap, top],
    }
    main = _finite_values(view.main_line, name)
    clones = _finite_values(view.clones, name)
    if not main:
        return axis

    # All of the main line is seen; of the clones, all but what went far astray.
    outliers = 0.02 if clones else 0
    low, high = bounds(clones + main, outliers)
    main_low, main_high = bounds(main, 0)
    low = min(low, main_low)
    high = max(high, main_high)
    # A logarithmic axis has no place for zero and less.
    smallest = min(main + clones)
    if smallest > 0 and reads_better_as_log(main):
        return axis | log_axis(max(low, smallest * 0.9), high)
    return axis | {"range": [low, high]}


def reads_better_as_log(values: Sequence[float]) -> bool:
    """Return whether positive values tell more on a logarithmic axis.

    A loss falls by a factor and then by a little: on a linear axis, all that follows the first
    epochs is one flat line.
    """
    low = min(values)
    high = max(values)
    if high / low > WIDE:
        return True
    is_flat = median(values) - low < NEAR_END * (high - low)
    return is_flat and high / low > STEEP


def _finite_values(trials: list[TrainingView], name: str) -> list[float]:
    values: list[float] = []
    for trial in trials:
        values += filter(math.isfinite, trial.curve(name))
    return values


def _last(view: RunView, trial: TrainingView, name: str) -> float | None:
    """Return a logged value after the last epoch of a training."""
    if trial.logs:
        return finite(trial.curve(name)[-1])
    # A child of two clones was evaluated, not trained.
    return finite(trial.value) if name == view.monitor else None
