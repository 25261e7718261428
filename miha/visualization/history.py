"""The learning history: the main line, and the clones' short curves where they left it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from miha.results.trials import RunView, TrainingView
from miha.visualization.theme import (
    FAINT,
    MAIN,
    OUTLINE,
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
    safe,
    symbol,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

WIDE = 20.0
"""From the ratio of the largest to the smallest on, values are shown on a logarithmic axis."""

MOST_BORDERS = 120
"""Cycles beyond which their borders would be a grey wall."""

MANY = 400
"""Clones beyond which only the first panel has points for the mouse: a page must be quick."""


def plot_learning_history(result: Result) -> go.Figure:
    """Plot loss and monitored value over the epochs of the main line.

    The clones' curves are faint branches where they left it; under the mouse, they name their
    mutation. Triangles are the mutations that were selected. Where the run went back to its best
    network, the line continues from that network at an arrow.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    view = RunView.of(result)
    names = _panel_names(view)
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


def _panel_names(view: RunView) -> list[str]:
    """Return the logged values to show: the monitored one, and the training loss if it differs."""
    names = [view.monitor]
    first = view.trials[0].logs if view.trials else ()
    has_loss = any("loss" in log for log in first)
    if has_loss and view.monitor != "loss":
        names.append("loss")
    return names


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
        traces.append(_legend_entry(view, kind))
        traces.append(_curves(view, name, branches))
        if has_points:
            traces.append(_ends(view, name, branches))
    traces.append(_main_line(view, name))

    selected = [clone for clone in view.mutations if clone.selected and _has_place(clone)]
    if selected:
        traces.append(_selected(view, name, selected))
    if view.returns:
        traces.append(_returns(view, name))
    return traces


def _has_place(clone: TrainingView) -> bool:
    # One that failed in its first epoch has none. A child of two clones has no epochs, but a value.
    return bool(clone.logs) or math.isfinite(clone.value)


def _main_line(view: RunView, name: str) -> Trace:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in view.main_line:
        about = f"<b>{safe(trial.name)}</b>"
        if trial.is_clone:
            about = describe(view, trial)
        base = view.returns.get(trial.start)
        # After a gap, the line continues from the older network that the run went back to.
        if base is not None and x and x[-1] == trial.start:
            x += [None, trial.start]
            y += [None, _last(view, base, name)]
            text += ["", about]
        x += range(trial.start + 1, trial.end + 1)
        y += map(finite, trial.curve(name))
        # The whole line shows the mutation under the mouse, not its triangle only.
        text += [about] * len(trial.logs)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "main line",
        "x": x,
        "y": y,
        "text": text,
        "hovertemplate": f"%{{text}}<br>epoch %{{x}}: {safe(name)} %{{y:.4g}}<extra></extra>",
        "line": {"color": MAIN, "width": 2.5},
    }


def _legend_entry(view: RunView, kind: str) -> Trace:
    """Return a point that is nowhere: the curves are too faint to stand in the legend."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "legendgroup": kind,
        "name": label(kind),
        "showlegend": True,
        "marker": _marker(view, kind, size=9),
    }


def _marker(view: RunView, kind: str, size: int) -> Trace:
    return {
        "color": colour(view, kind),
        "symbol": symbol(view, kind),
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
        "line": {"color": colour(view, kind), "width": 1},
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
        "marker": _marker(view, kind, size=5),
    }


def _points(view: RunView, name: str, clones: list[TrainingView]) -> Trace:
    """Return the ends of clones' curves, which show their mutation under the mouse."""
    x = [clone.end for clone in clones]
    y = [_last(view, clone, name) for clone in clones]
    text = [describe(view, clone) for clone in clones]
    return points(x, y, text)


def _selected(view: RunView, name: str, clones: list[TrainingView]) -> Trace:
    """Return where the main line changed."""
    trace = _points(view, name, clones)
    trace["name"] = "selected mutation"
    trace["marker"] = {
        "symbol": "triangle-up",
        "size": 12,
        "color": [colour(view, clone.gene) for clone in clones],
        "line": OUTLINE,
    }
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
    trace["marker"] = {"symbol": "triangle-left", "size": 12, "color": MAIN, "line": OUTLINE}
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
    if smallest > 0 and max(main) / min(main) > WIDE:
        return axis | log_axis(max(low, smallest * 0.9), high)
    return axis | {"range": [low, high]}


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
