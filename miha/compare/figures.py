"""Figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.compare.comparison import REFERENCE, Comparison
from miha.compare.records import Cell
from miha.compare.statistics import Mean, finite
from miha.utils.optional import need
from miha.visualization.theme import (
    COLOURS,
    MAIN,
    SYMBOLS_OF_RUNS,
    bounds,
    figure,
    log_axis,
    safe,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

Json = dict[str, Any]
"""A part of a figure, as Plotly's JSON has it."""

OTHERS = tuple(colour for colour in COLOURS if colour != MAIN)
DASHES = ("solid", "dash", "dot")

# Shares of a figure's height and width between two panels.
ROW_GAP = 0.09
COLUMN_GAP = 0.06

SIDE = 150
"""Of a field, in pixels."""

Curve = tuple[np.ndarray, np.ndarray]
"""Places and best values so far."""


def look_of(
    comparison: Comparison,
    strategy: str,
) -> dict[str, str]:
    """Return colour, dash and symbol of a strategy; MIHA is the thick blue line."""
    if strategy == REFERENCE:
        return {"colour": MAIN, "dash": "solid", "symbol": "star"}
    others = [name for name in comparison.strategies if name != REFERENCE]
    place = others.index(strategy)
    rounds = place // len(OTHERS)
    return {
        "colour": OTHERS[place % len(OTHERS)],
        "dash": DASHES[rounds % len(DASHES)],
        # The last two symbols are left out: one of them is MIHA's star.
        "symbol": SYMBOLS_OF_RUNS[place % len(SYMBOLS_OF_RUNS)],
    }


def best_so_far(
    values: Sequence[float],
    mode: str,
) -> np.ndarray:
    """Return the best value of all up to each one; what is not finite does not count."""
    worst = math.inf if mode == "min" else -math.inf
    best = np.minimum if mode == "min" else np.maximum
    finite = np.where(np.isfinite(values), values, worst)
    found: np.ndarray = best.accumulate(finite)
    return found


def plot_epochs(comparison: Comparison) -> go.Figure:
    """Plot the best monitored value so far against trained epochs: means over the seeds."""
    return _curves(comparison, _by_epochs, "trained epochs, of all networks together", False)


def plot_seconds(comparison: Comparison) -> go.Figure:
    """Plot the best monitored value so far against seconds: means over the seeds."""
    return _curves(comparison, _by_seconds, "seconds", True)


def _curves(
    comparison: Comparison,
    along: Callable[[list[Cell], str], Curve],
    text: str,
    is_log: bool,
) -> go.Figure:
    """Return a panel for each start, and a line for each strategy in it."""
    starts = comparison.starts
    data: list[Json] = []
    layout: Json = {}
    for row, start in enumerate(starts):
        curves: list[Curve] = []
        for name in comparison.strategies:
            cells = comparison.of(start, name)
            trained = [cell for cell in cells if cell.has_curve]
            if trained:
                curve = along(trained, comparison.about["mode"])
                curves.append(curve)
                data.append(_trace(comparison, name, curve, row))
        axis = _suffix(row)
        layout[f"yaxis{axis}"] = _y_axis(starts, row, curves)
        x_axis: Json = {"anchor": f"y{axis}", "matches": "x"}
        if is_log:
            x_axis |= _log_x(curves)
        # The panels share one axis, which is named below the last of them.
        if start == starts[-1]:
            x_axis["title"] = {"text": text}
        layout[f"xaxis{axis}"] = x_axis

    legend_rows = math.ceil(len(comparison.strategies) / 4)
    top = 70 + 30 * legend_rows
    return figure(
        data,
        title=title(f"Best {safe(comparison.about['monitor'])} so far, mean over seeds"),
        height=top + 60 + 300 * len(starts),
        margin={"l": 80, "r": 30, "t": top, "b": 60},
        **layout,
    )


def _suffix(place: int) -> str:
    """Return what Plotly appends to the name of an axis: nothing, 2, 3, ..."""
    return str(place + 1) if place else ""


def _by_epochs(cells: list[Cell], mode: str) -> Curve:
    """Return the mean best value after each epoch; who has stopped keeps the last one."""
    length = max(len(cell.curve) for cell in cells)
    rows = []
    for cell in cells:
        best = best_so_far([value for _, value in cell.curve], mode)
        missing = length - len(best)
        rows.append(np.pad(best, (0, missing), mode="edge"))
    epochs = np.arange(1, length + 1)
    return epochs, np.mean(rows, axis=0)


def _by_seconds(cells: list[Cell], mode: str) -> Curve:
    """Return the mean best value at moments from when all seeds have one."""
    first = max(cell.curve[0][0] for cell in cells)
    last = max(cell.curve[-1][0] for cell in cells)
    # A logarithmic axis knows no 0.
    first = max(first, 1e-3)
    last = max(last, first)
    moments = np.geomspace(first, last, 200)
    # A thousandth later, since seconds and moments are rounded.
    later = moments * (1 + 1e-3)
    rows = []
    for cell in cells:
        seconds = np.array([second for second, _ in cell.curve])
        best = best_so_far([value for _, value in cell.curve], mode)
        places = np.searchsorted(seconds, later, side="right") - 1
        rows.append(best[np.maximum(places, 0)])
    return moments, np.mean(rows, axis=0)


def _trace(
    comparison: Comparison,
    name: str,
    curve: Curve,
    row: int,
) -> Json:
    look = look_of(comparison, name)
    line = {
        "color": look["colour"],
        "dash": look["dash"],
        "width": 3.5 if name == REFERENCE else 1.8,
        "shape": "hv",
    }
    return {
        "type": "scatter",
        "mode": "lines",
        "name": safe(name),
        "legendgroup": name,
        "showlegend": row == 0,
        "x": curve[0].tolist(),
        "y": [_or_none(value) for value in curve[1].tolist()],
        "xaxis": f"x{_suffix(row)}",
        "yaxis": f"y{_suffix(row)}",
        "line": line,
        "hovertemplate": f"<b>{safe(name)}</b><br>%{{x:.4g}}: %{{y:.4g}}<extra></extra>",
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _y_axis(
    starts: list[str],
    row: int,
    curves: list[Curve],
) -> Json:
    """Return the axis of a panel, on which the ends of all curves are well seen."""
    gaps = ROW_GAP * (len(starts) - 1)
    height = (1 - gaps) / len(starts)
    top = 1 - row * (height + ROW_GAP)
    axis: Json = {
        "title": {"text": f"start: {safe(starts[row], 30)}"},
        "domain": [max(top - height, 0.0), top],
        "anchor": f"x{_suffix(row)}",
    }
    # The first tenth of a curve would hide how the rest differ.
    late: list[float] = []
    for _, best in curves:
        first = len(best) // 10
        late += finite(best[first:].tolist())
    if not late:
        return axis
    low = min(late)
    high = max(late)
    if low > 0 and high / low > 20:
        return axis | log_axis(low * 0.9, high * 1.1)
    return axis | {"range": list(bounds(late, 0.01))}


def _log_x(curves: list[Curve]) -> Json:
    if not curves:
        return {}
    low = min(moments[0] for moments, _ in curves)
    high = max(moments[-1] for moments, _ in curves)
    return log_axis(low, high) if low < high else {}


def plot_scores(comparison: Comparison) -> go.Figure:
    """Plot the test scores: a point for each seed, a bar for the mean and its standard error."""
    starts = comparison.starts
    names = comparison.strategies[::-1]
    gaps = COLUMN_GAP * (len(starts) - 1)
    width = (1 - gaps) / len(starts)
    data: list[Json] = []
    layout: Json = {}
    for column, start in enumerate(starts):
        axis = _suffix(column)
        for place, name in enumerate(names):
            for trace in _points(comparison, start, name):
                trace["y"] = [place] * len(trace["x"])
                trace["xaxis"] = f"x{axis}"
                data.append(trace)
        left = column * (width + COLUMN_GAP)
        text = f"{safe(comparison.metric, 30)}, start: {safe(start, 30)}"
        layout[f"xaxis{axis}"] = {
            "title": {"text": text},
            "domain": [left, min(left + width, 1.0)],
            "anchor": "y",
        }
    layout["yaxis"] = {
        "tickvals": list(range(len(names))),
        "ticktext": [safe(name, 40) for name in names],
        "range": [-0.6, len(names) - 0.4],
        "showgrid": False,
    }
    return figure(
        data,
        title=title("Test scores: a point for each seed; diamond: mean ± standard error"),
        height=140 + 34 * len(names),
        margin={"l": 80, "r": 30, "t": 70, "b": 60},
        showlegend=False,
        **layout,
    )


def _points(
    comparison: Comparison,
    start: str,
    name: str,
) -> list[Json]:
    """Return a strategy's points and their mean; places are added by the caller."""
    scores = comparison.scores(start, name)
    if not scores:
        return []
    look = look_of(comparison, name)
    colour = look["colour"]
    mean = Mean.of(list(scores.values()))
    error = 0.0 if math.isnan(mean.error) else mean.error
    common = {"type": "scatter", "mode": "markers", "yaxis": "y"}
    head = f"<b>{safe(name)}</b><br>"
    texts = [f"{head}seed {seed}: {value:.4f}" for seed, value in scores.items()]
    error_x = {"type": "data", "array": [error], "color": colour, "thickness": 2}
    seeds = {
        "x": list(scores.values()),
        "marker": {"size": 7, "color": colour, "opacity": 0.55, "symbol": look["symbol"]},
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
    }
    middle = {
        "x": [mean.value],
        "marker": {"size": 11, "color": colour, "symbol": "diamond"},
        "error_x": error_x,
        "hovertemplate": f"{head}mean {mean}<extra></extra>",
    }
    return [common | seeds, common | middle]


def plot_fields(columns: Mapping[str, np.ndarray]) -> go.Figure:
    """Plot fields beside each other, a row for each of several, a column for each kind.

    Args:
        columns: From a heading to fields of shape (n, height, width); NaN is left blank. All have
            the same n, and a row has the colours of its first field.
    """
    names = list(columns)
    rows = len(columns[names[0]])
    found = need("plotly.subplots", "plot").make_subplots(
        rows=rows,
        cols=len(names),
        column_titles=[safe(name, 24) for name in names],
        horizontal_spacing=0.04 / len(names),
        vertical_spacing=0.04 / rows,
    )
    for row in range(rows):
        first = columns[names[0]][row]
        for column, name in enumerate(names):
            field = columns[name][row]
            found.add_heatmap(
                # Plotly draws the first line of a heatmap at the bottom.
                z=field[::-1],
                zmin=float(np.nanmin(first)),
                zmax=float(np.nanmax(first)),
                colorscale="Viridis",
                showscale=False,
                row=row + 1,
                col=column + 1,
            )
    style = figure(
        [],
        title=title("Test windows"),
        margin={"l": 20, "r": 20, "t": 90, "b": 20},
        width=40 + SIDE * len(names),
        height=110 + SIDE * rows,
    )
    found.update_layout(style.layout)
    found.update_annotations(font_size=12)
    found.update_xaxes(showgrid=False, showticklabels=False)
    found.update_yaxes(showgrid=False, showticklabels=False)
    return found


def plot_correlations(values: np.ndarray) -> go.Figure:
    """Plot how well ranks after n epochs predict the final ones.

    Args:
        values: Shape (seeds, epochs): Spearman's correlations.
    """
    means = [Mean.finite(list(column)) for column in values.T]
    errors = [mean.error for mean in means]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(1, len(means) + 1)),
        "y": [mean.value for mean in means],
        "error_y": {"type": "data", "array": errors, "thickness": 1.5},
        "line": {"color": MAIN, "width": 2.5},
        "hovertemplate": "after %{x} epochs: %{y:.3f}<extra></extra>",
    }
    y_axis = {"title": {"text": "correlation ± standard error"}, "range": [-0.1, 1.05]}
    return figure(
        [line],
        title=title("Spearman's correlation of the ranks with the final ones"),
        height=420,
        xaxis={"title": {"text": "epochs of a candidate"}},
        yaxis=y_axis,
    )
