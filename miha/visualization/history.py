"""The learning history: the main line, and the clones' short curves where they left it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.results.story import Story
from miha.results.trials import NO_GENE, Trial
from miha.visualization.hover import describe
from miha.visualization.theme import (
    FAINT,
    GREY,
    MAIN,
    bounds,
    figure,
    log_axis,
    look,
    number,
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
"""Clones beyond which those of the first panel alone can be pointed at: a page must be quick."""


def plot_learning_history(result: Result) -> go.Figure:
    """Plot loss and monitored value over the epochs of the main line.

    The clones' curves are faint branches where they left it; pointed at, they tell their
    mutation. Triangles are the mutations that were selected. Where the run went back to its best
    network, the line begins anew at an arrow.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    names = _panels(story)
    data: list[dict[str, Any]] = []
    for row, name in enumerate(names, start=1):
        is_pointed_at = row == 1 or len(story.clones) <= MANY
        panel = [*_branches(story, name, is_pointed_at), *_main(story, name)]
        panel += [*_selected(story, name), *_returns(story, name)]
        axes = {"xaxis": "x", "yaxis": f"y{row}" if row > 1 else "y"}
        data += [{**trace, **axes, **({"showlegend": False} if row > 1 else {})} for trace in panel]
    layout: dict[str, Any] = {
        f"yaxis{row if row > 1 else ''}": _y_axis(story, name, row, len(names))
        for row, name in enumerate(names, start=1)
    }
    x_axis = {"title": {"text": "epochs of the main line"}, "anchor": "free", "position": 0}
    return figure(
        data,
        title=title("Learning history"),
        xaxis={**x_axis, "rangemode": "tozero", "showgrid": False, "minor": _borders(story)},
        height=300 + 220 * len(names),
        **layout,
    )


def _panels(story: Story) -> list[str]:
    """Return the logged values to show: the training loss and the monitored one."""
    logged = {name for trial in story.trials[:1] for log in trial.logs for name in log}
    return [story.monitor, *({"loss"} & logged - {story.monitor})]


def _main(story: Story, name: str) -> list[dict[str, Any]]:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in story.main_line:
        told = describe(story, trial) if trial.is_clone else f"<b>{safe(trial.name)}</b>"
        base = story.returns.get(trial.start)
        if base is not None and x and x[-1] == trial.start:  # It begins anew from there.
            x, y, text = [*x, None, trial.start], [*y, None, _end(base, name)], [*text, "", told]
        x += range(trial.start + 1, trial.end + 1)
        y += map(_finite, trial.curve(name))
        # The mutation is told wherever the line is pointed at, not on its triangle only.
        text += [told] * len(trial.logs)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "main line",
            "x": x,
            "y": y,
            "text": text,
            "hovertemplate": f"%{{text}}<br>epoch %{{x}}: {safe(name)} %{{y:.4g}}<extra></extra>",
            "line": {"color": MAIN, "width": 2.5},
        }
    ]


def _branches(story: Story, name: str, is_pointed_at: bool) -> list[dict[str, Any]]:
    """Return the clones' curves: lines for each kind of mutation, and their ends to point at."""
    traces: list[dict[str, Any]] = []
    for kind in (NO_GENE, *story.gene_kinds):
        clones = [c for c in story.clones if c.gene == kind and c.logs and not c.selected]
        if clones:
            key, line, ends = _branch(story, name, kind, clones)
            traces += [key, line, *([ends] if is_pointed_at else [])]
    return traces


def _branch(
    story: Story, name: str, kind: str, clones: Sequence[Trial]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return an entry for the legend, the curves and their ends."""
    colour, symbol = look(story.gene_kinds, kind)
    opacity = max(0.25, min(0.5, 25 / len(story.clones)))
    x: list[int | None] = []
    y: list[float | None] = []
    for clone in clones:
        base = story.parent(clone)
        x += [clone.start, *range(clone.start + 1, clone.end + 1), None]
        y += [None if base is None else _end(base, name), *map(_finite, clone.curve(name)), None]
    label = "unchanged" if kind == NO_GENE else kind
    common = {"type": "scatter", "legendgroup": kind, "name": safe(label), "showlegend": False}
    line = {"mode": "lines", "line": {"color": colour, "width": 1}, "opacity": opacity}
    points = {"color": colour, "symbol": symbol, "size": 5}
    return (
        # For the legend: the clones' own colours are faint.
        {**common, "mode": "markers", "marker": {**points, "size": 9}, "x": [None], "y": [None]}
        | {"showlegend": True},
        {**common, **line, "x": x, "y": y, "hoverinfo": "skip"},
        {**common, **_points(story, name, clones, points), "opacity": min(1.0, 2 * opacity)},
    )


def _points(
    story: Story, name: str, clones: Sequence[Trial], marker: dict[str, Any]
) -> dict[str, Any]:
    """Return the ends of clones' curves, which tell their mutation."""
    return {
        "mode": "markers",
        "x": [clone.end for clone in clones],
        "y": [_end(clone, name) for clone in clones],
        "text": [describe(story, clone) for clone in clones],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _selected(story: Story, name: str) -> list[dict[str, Any]]:
    """Return where the main line changed: the selected clones that are no control."""
    clones = [c for c in story.clones if c.selected and c.gene != NO_GENE and c.logs]
    if not clones:
        return []
    colours = [look(story.gene_kinds, clone.gene)[0] for clone in clones]
    marker = {"symbol": "triangle-up", "size": 12, "color": colours}
    points = _points(story, name, clones, marker | {"line": {"color": GREY, "width": 1}})
    return [{"type": "scatter", "name": "selected mutation", **points}]


def _returns(story: Story, name: str) -> list[dict[str, Any]]:
    """Return where the run went back to its best network."""
    if not story.returns:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "back to the best network",
            "x": list(story.returns),
            "y": [_end(base, name) for base in story.returns.values()],
            "text": [_say_return(story, base) for base in story.returns.values()],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"symbol": "triangle-left", "size": 12, "color": MAIN}
            | {"line": {"color": GREY, "width": 1}},
        }
    ]


def _say_return(story: Story, base: Trial) -> str:
    return f"<b>back to {safe(base.name)}</b><br>{safe(story.monitor)} {number(base.value)}"


def _borders(story: Story) -> dict[str, Any]:
    """Return a thin line where each cycle begins; a grid is quicker to draw than shapes."""
    starts = story.starts[:: 1 + len(story.starts) // MOST_BORDERS]
    return {"tickvals": starts, "showgrid": True, "gridcolor": FAINT, "griddash": "dot"}


def _y_axis(story: Story, name: str, row: int, rows: int) -> dict[str, Any]:
    height = 1 / rows
    top = 1 - (row - 1) * height
    axis = {"title": {"text": safe(name, 30)}, "domain": [top - height + 0.04 * (rows > row), top]}
    main = [v for t in story.main_line for v in t.curve(name) if math.isfinite(v)]
    others = [v for c in story.clones for v in c.curve(name) if math.isfinite(v)]
    if not main:
        return axis
    # Whole where the main line is; of the clones, all but what went far astray.
    low, high = bounds([*others, *main], 0.02 if others else 0)
    low, high = min(low, *bounds(main, 0)), max(high, *bounds(main, 0))
    is_log = 0 < min([*main, *others]) and max(main) / min(main) > WIDE
    if is_log:
        return {**axis, **log_axis(max(low, min([*main, *others]) * 0.9), high)}
    return {**axis, "range": [low, high]}


def _end(trial: Trial, name: str) -> float | None:
    """Return a logged value after the last epoch of a training."""
    return _finite(trial.curve(name)[-1]) if trial.logs else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
