"""Figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.compare.comparison import REFERENCE, Comparison
from miha.compare.records import Cell
from miha.compare.statistics import Mean
from miha.visualization.theme import COLOURS, MAIN, SYMBOLS, bounds, figure, log_axis, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

OTHERS = tuple(colour for colour in COLOURS if colour != MAIN)
DASHES = ("solid", "dash", "dot")
GAP = 0.09
"""Share of the height between two panels."""

Curve = tuple[np.ndarray, np.ndarray]
"""Places and best values so far."""


def look_of(comparison: Comparison, strategy: str) -> dict[str, str]:
    """Return colour, dash and symbol of a strategy; MIHA is the thick blue line."""
    if strategy == REFERENCE:
        return {"colour": MAIN, "dash": "solid", "symbol": "star"}
    place = [name for name in comparison.strategies if name != REFERENCE].index(strategy)
    return {
        "colour": OTHERS[place % len(OTHERS)],
        "dash": DASHES[place // len(OTHERS) % len(DASHES)],
        "symbol": SYMBOLS[place % (len(SYMBOLS) - 2)],
    }


def best_so_far(values: Sequence[float], mode: str) -> np.ndarray:
    """Return the best value of all up to each one; what is not finite does not count."""
    worst = math.inf if mode == "min" else -math.inf
    finite = np.where(np.isfinite(values), values, worst)
    best = np.minimum if mode == "min" else np.maximum
    found: np.ndarray = best.accumulate(finite)
    return found


def plot_epochs(comparison: Comparison) -> go.Figure:
    """Plot the best monitored value so far against trained epochs: means over the seeds."""
    return _curves(comparison, _by_epochs, "trained epochs, of all networks together", False)


def plot_seconds(comparison: Comparison) -> go.Figure:
    """Plot the best monitored value so far against seconds: means over the seeds."""
    return _curves(comparison, _by_seconds, "seconds", True)


def _curves(
    comparison: Comparison, along: Callable[[list[Cell], str], Curve], text: str, is_log: bool
) -> go.Figure:
    """Return a panel for each start, and a line for each strategy in it."""
    starts, data = comparison.starts, []
    layout: dict[str, Any] = {}
    for row, start in enumerate(starts):
        lines = dict(_lines(comparison, start, along))
        data += [_trace(comparison, name, curve, row) for name, curve in lines.items()]
        values = [curve[1] for curve in lines.values()]
        layout[f"yaxis{row + 1 if row else ''}"] = _y_axis(comparison, start, row, values)
        x_axis: dict[str, Any] = {"anchor": f"y{row + 1 if row else ''}", "matches": "x"}
        if is_log:
            x_axis |= _log_x([curve[0] for curve in lines.values()])
        if row == len(starts) - 1:
            x_axis["title"] = {"text": text}
        layout[f"xaxis{row + 1 if row else ''}"] = x_axis
    top = 70 + 30 * -(-len(comparison.strategies) // 4)  # A title, and lines of legend.
    heading = f"Best {safe(comparison.about['monitor'])} so far, mean over seeds"
    return figure(
        data,
        title=title(heading),
        height=top + 60 + 300 * len(starts),
        margin={"l": 80, "r": 30, "t": top, "b": 60},
        **layout,
    )


def _lines(comparison: Comparison, start: str, along: Any) -> Any:
    """Yield the strategies that have trained, and their curves."""
    for name in comparison.strategies:
        cells = [c for c in comparison.of(start, name) if c.curve and not c.failure]
        if cells:
            yield name, along(cells, comparison.about["mode"])


def _by_epochs(cells: list[Cell], mode: str) -> Curve:
    """Return the mean best value after each epoch; who has stopped keeps what it had."""
    length = max(len(cell.curve) for cell in cells)
    rows = [best_so_far([value for _, value in cell.curve], mode) for cell in cells]
    rows = [np.pad(row, (0, length - len(row)), mode="edge") for row in rows]
    return np.arange(1, length + 1), np.mean(rows, axis=0)


def _by_seconds(cells: list[Cell], mode: str) -> Curve:
    """Return the mean best value at moments from when all seeds have one."""
    times = [np.array([seconds for seconds, _ in cell.curve]) for cell in cells]
    first, last = max(t[0] for t in times), max(t[-1] for t in times)
    moments = np.geomspace(max(first, 1e-3), max(last, first, 1e-3), 200)
    rows = []
    for cell, seconds in zip(cells, times, strict=True):
        best = best_so_far([value for _, value in cell.curve], mode)
        # By a thousandth later: moments are rounded.
        places = np.searchsorted(seconds, moments * (1 + 1e-3), side="right") - 1
        rows.append(best[np.maximum(places, 0)])
    return moments, np.mean(rows, axis=0)


def _trace(comparison: Comparison, name: str, curve: Curve, row: int) -> dict[str, Any]:
    look, axis = look_of(comparison, name), "" if row == 0 else str(row + 1)
    values = [float(v) if math.isfinite(v) else None for v in curve[1]]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": safe(name),
        "legendgroup": name,
        "showlegend": row == 0,
        "x": curve[0].tolist(),
        "y": values,
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "line": {
            "color": look["colour"],
            "dash": look["dash"],
            "width": 3.5 if name == REFERENCE else 1.8,
            "shape": "hv",
        },
        "hovertemplate": f"<b>{safe(name)}</b><br>%{{x:.4g}}: %{{y:.4g}}<extra></extra>",
    }


def _y_axis(comparison: Comparison, start: str, row: int, curves: list[np.ndarray]) -> Any:
    """Return the axis of a panel, on which the ends of all curves are well seen."""
    rows, text = len(comparison.starts), f"start: {safe(start, 30)}"
    height = (1 - GAP * (rows - 1)) / rows
    top = 1 - row * (height + GAP)
    axis = {"title": {"text": text}, "domain": [max(top - height, 0.0), top]}
    axis |= {"anchor": f"x{row + 1 if row else ''}"}
    late = [v for c in curves for v in c[len(c) // 10 :] if math.isfinite(v)]
    if not late:
        return axis
    low, high = bounds(late, 0.01)
    if min(late) > 0 and max(late) / min(late) > 20:
        return {**axis, **log_axis(min(late) * 0.9, max(late) * 1.1)}
    return {**axis, "range": [low, high]}


def _log_x(curves: list[np.ndarray]) -> dict[str, Any]:
    if not curves:
        return {}
    low, high = min(c[0] for c in curves), max(c[-1] for c in curves)
    return log_axis(low, high) if low < high else {}


def plot_scores(comparison: Comparison) -> go.Figure:
    """Plot the test scores: a point for each seed, a bar for the mean and its standard error."""
    starts, data = comparison.starts, []
    names = comparison.strategies[::-1]
    layout: dict[str, Any] = {}
    width = (1 - 0.06 * (len(starts) - 1)) / len(starts)
    for column, start in enumerate(starts):
        left = column * (width + 0.06)
        suffix = "" if column == 0 else str(column + 1)
        data += [t for p, n in enumerate(names) for t in _points(comparison, start, n, p, suffix)]
        text = f"{safe(comparison.metric, 30)}, start: {safe(start, 30)}"
        domain = [left, min(left + width, 1.0)]
        layout[f"xaxis{suffix}"] = {"title": {"text": text}, "domain": domain, "anchor": "y"}
    layout["yaxis"] = {
        "tickvals": list(range(len(names))),
        "ticktext": [safe(name, 40) for name in names],
        "range": [-0.6, len(names) - 0.4],
        "showgrid": False,
    }
    heading = "Test scores: a point for each seed; diamond: mean ± standard error"
    return figure(
        data,
        title=title(heading),
        height=140 + 34 * len(names),
        margin={"l": 80, "r": 30, "t": 70, "b": 60},
        showlegend=False,
        **layout,
    )


def _points(
    comparison: Comparison, start: str, name: str, place: int, suffix: str
) -> list[dict[str, Any]]:
    scores = comparison.scores(start, name)
    values = list(scores.values())
    look, mean = look_of(comparison, name), Mean.of(values)
    if not values:
        return []
    common = {"type": "scatter", "mode": "markers", "xaxis": f"x{suffix}", "yaxis": "y"}
    told = [f"<b>{safe(name)}</b><br>seed {seed}: {value:.4f}" for seed, value in scores.items()]
    seeds = {"size": 7, "color": look["colour"], "opacity": 0.55, "symbol": look["symbol"]}
    middle = {"size": 11, "color": look["colour"], "symbol": "diamond"}
    error = 0.0 if math.isnan(mean.error) else mean.error
    return [
        common
        | {"x": values, "y": [place] * len(values), "marker": seeds, "text": told}
        | {"hovertemplate": "%{text}<extra></extra>"},
        common
        | {"x": [mean.value], "y": [place], "marker": middle}
        | {"error_x": {"type": "data", "array": [error], "color": look["colour"], "thickness": 2}}
        | {"hovertemplate": f"<b>{safe(name)}</b><br>mean {mean}<extra></extra>"},
    ]
