"""The learning history: the main line, and the clones' short curves where they left it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.results.story import Story
from miha.results.trials import NO_GENE, Trial
from miha.visualization.theme import (
    FAINT,
    MAIN,
    OUTLINE,
    bounds,
    describe,
    figure,
    finite,
    log_axis,
    look,
    number,
    points,
    safe,
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
    story = Story.of(result)
    names = _panel_names(story)
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    for row, name in enumerate(names, start=1):
        has_points = row == 1 or len(story.clones) <= MANY
        for trace in _panel(story, name, has_points):
            trace |= {"xaxis": "x", "yaxis": f"y{row}" if row > 1 else "y"}
            # One legend is enough for all panels.
            if row > 1:
                trace["showlegend"] = False
            data.append(trace)
        axes[f"yaxis{row}" if row > 1 else "yaxis"] = _y_axis(story, name, row, len(names))
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
            "minor": _cycle_borders(story),
        },
        **axes,
    )


def _panel_names(story: Story) -> list[str]:
    """Return the logged values to show: the monitored one, and the training loss if it differs."""
    names = [story.monitor]
    first = story.trials[0].logs if story.trials else ()
    has_loss = any("loss" in log for log in first)
    if has_loss and story.monitor != "loss":
        names.append("loss")
    return names


def _panel(story: Story, name: str, has_points: bool) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for kind in (NO_GENE, *story.gene_kinds):
        clones = [clone for clone in story.clones if clone.gene == kind and clone.logs]
        losers = [clone for clone in clones if not clone.selected]
        if losers:
            traces += _branches(story, name, kind, losers, has_points)
    traces.append(_main_line(story, name))

    selected = [clone for clone in story.mutations if clone.selected and clone.logs]
    if selected:
        traces.append(_selected(story, name, selected))
    if story.returns:
        traces.append(_returns(story, name))
    return traces


def _main_line(story: Story, name: str) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in story.main_line:
        about = describe(story, trial) if trial.is_clone else f"<b>{safe(trial.name)}</b>"
        base = story.returns.get(trial.start)
        # After a gap, the line continues from the older network that the run went back to.
        if base is not None and x and x[-1] == trial.start:
            x += [None, trial.start]
            y += [None, _last(base, name)]
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


def _branches(
    story: Story, name: str, kind: str, clones: Sequence[Trial], has_points: bool
) -> list[dict[str, Any]]:
    """Return the curves of one kind of mutation, an entry for the legend, and the curves' ends."""
    colour, symbol = look(story.gene_kinds, kind)
    opacity = max(0.25, min(0.5, 25 / len(story.clones)))
    label = "unchanged" if kind == NO_GENE else kind
    common = {"type": "scatter", "legendgroup": kind, "name": safe(label)}

    # The curves are too faint for a legend: a point that is nowhere stands for them.
    marker = {"color": colour, "symbol": symbol, "size": 9}
    entry = {"mode": "markers", "marker": marker, "x": [None], "y": [None], "showlegend": True}
    curves = {
        "mode": "lines",
        **_curves(story, name, clones),
        "line": {"color": colour, "width": 1},
        "opacity": opacity,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    traces = [common | entry, common | curves]
    if has_points:
        ends = _ends(story, name, clones, marker | {"size": 5})
        style = {"opacity": min(1.0, 2 * opacity), "showlegend": False}
        traces.append(common | ends | style)
    return traces


def _curves(story: Story, name: str, clones: Sequence[Trial]) -> dict[str, Any]:
    """Return the curves of clones, with a gap between them, from where they left the main line."""
    x: list[int | None] = []
    y: list[float | None] = []
    for clone in clones:
        base = story.parent(clone)
        x += [*range(clone.start, clone.end + 1), None]
        y.append(None if base is None else _last(base, name))
        y += map(finite, clone.curve(name))
        y.append(None)
    return {"x": x, "y": y}


def _ends(
    story: Story, name: str, clones: Sequence[Trial], marker: dict[str, Any]
) -> dict[str, Any]:
    """Return the ends of clones' curves, which show their mutation under the mouse."""
    return points(
        [clone.end for clone in clones],
        [_last(clone, name) for clone in clones],
        [describe(story, clone) for clone in clones],
        marker=marker,
    )


def _selected(story: Story, name: str, clones: Sequence[Trial]) -> dict[str, Any]:
    """Return where the main line changed."""
    colours = [look(story.gene_kinds, clone.gene)[0] for clone in clones]
    marker = {"symbol": "triangle-up", "size": 12, "color": colours, "line": OUTLINE}
    return {**_ends(story, name, clones, marker), "name": "selected mutation"}


def _returns(story: Story, name: str) -> dict[str, Any]:
    """Return where the run went back to its best network."""
    bases = story.returns.values()
    return points(
        list(story.returns),
        [_last(base, name) for base in bases],
        [_return_text(story, base) for base in bases],
        name="back to the best network",
        marker={"symbol": "triangle-left", "size": 12, "color": MAIN, "line": OUTLINE},
    )


def _return_text(story: Story, base: Trial) -> str:
    return f"<b>back to {safe(base.name)}</b><br>{safe(story.monitor)} {number(base.value)}"


def _cycle_borders(story: Story) -> dict[str, Any]:
    """Return a thin line where each cycle begins; a grid is quicker to draw than shapes."""
    step = 1 + len(story.starts) // MOST_BORDERS
    starts = story.starts[::step]
    return {"tickvals": starts, "showgrid": True, "gridcolor": FAINT, "griddash": "dot"}


def _y_axis(story: Story, name: str, row: int, rows: int) -> dict[str, Any]:
    height = 1 / rows
    top = 1 - (row - 1) * height
    gap = 0.04 if row < rows else 0.0
    axis = {"title": {"text": safe(name, 30)}, "domain": [top - height + gap, top]}
    main = _finite_values(story.main_line, name)
    clones = _finite_values(story.clones, name)
    if not main:
        return axis

    # All of the main line is seen; of the clones, all but what went far astray.
    low, high = bounds([*clones, *main], 0.02 if clones else 0)
    main_low, main_high = bounds(main, 0)
    low = min(low, main_low)
    high = max(high, main_high)
    smallest = min([*main, *clones])
    if smallest > 0 and max(main) / min(main) > WIDE:
        return axis | log_axis(max(low, smallest * 0.9), high)
    return axis | {"range": [low, high]}


def _finite_values(trials: Sequence[Trial], name: str) -> list[float]:
    curves = [trial.curve(name) for trial in trials]
    return [value for curve in curves for value in curve if math.isfinite(value)]


def _last(trial: Trial, name: str) -> float | None:
    """Return a logged value after the last epoch of a training."""
    return finite(trial.curve(name)[-1]) if trial.logs else None
