"""How every figure looks: legible on light and dark pages, and for colour-blind eyes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.results.trials import NO_GENE, RunView
from miha.utils.optional import need

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.trials import TrainingView

# Source of the colours: M. Okabe, K. Ito, "Color Universal Design" (2008). Their black and their
# yellow are left out: one is lost on a dark page, the other on a light one.
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREY = "#808080"

MAIN = "#1f88c9"
"""The main line: the blue, a little lighter, so that it stands out on a dark page as well."""

COLOURS = (VERMILION, GREEN, PURPLE, ORANGE, SKY, MAIN)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
SCALE = [
    [0.0, MAIN],
    [0.5, "#a0a0a0"],
    [1.0, VERMILION],
]
"""From poor to good: all three stand out on a light and on a dark page."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
CLEAR = "rgba(0,0,0,0)"
FAINT = "rgba(128,128,128,0.25)"
OUTLINE = {"color": GREY, "width": 1}

Values = Sequence[Any]

Trace = dict[str, Any]
"""A trace, as Plotly's JSON has it."""

Axis = dict[str, Any]
"""An axis, as Plotly's JSON has it."""

LAYOUT: dict[str, Any] = {
    "template": "none",
    "paper_bgcolor": CLEAR,
    "plot_bgcolor": CLEAR,
    # Its contrast is 4.5:1 on white and 4:1 on black.
    "font": {"family": FONT, "size": 13, "color": "#767676"},
    "hoverlabel": {
        "bgcolor": "#2b2b2b",
        "bordercolor": "#767676",
        "font": {"color": "#ffffff", "family": FONT, "size": 13},
        "align": "left",
    },
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    # At the top there is room for a title and two lines of legend.
    "margin": {"l": 70, "r": 30, "t": 100, "b": 60},
    "hovermode": "closest",
    # Plotly keeps the reader's zoom as long as this value stays the same.
    "uirevision": "run",
    "modebar": {"bgcolor": CLEAR, "color": GREY, "activecolor": MAIN},
}

AXIS = {
    "gridcolor": FAINT,
    "zeroline": False,
    "linecolor": GREY,
    "tickcolor": GREY,
    "ticks": "outside",
    "automargin": True,
}


def figure(data: Sequence[Trace], **layout: Any) -> go.Figure:
    """Return a figure in MIHA's style.

    Args:
        data: The traces.
        layout: Of the figure; axes get the style that all have.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    graph = need("plotly.graph_objects", "plot")
    whole = dict(LAYOUT)
    entries = sum(trace.get("showlegend", "name" in trace) for trace in data)
    has_legend = layout.get("showlegend", True)
    if entries < 2 or not has_legend:
        whole["margin"] = LAYOUT["margin"] | {"t": 60}

    whole |= layout
    for name, value in layout.items():
        if name.startswith(("xaxis", "yaxis")):
            whole[name] = AXIS | value
    return graph.Figure(data=list(data), layout=whole)


def title(text: str) -> dict[str, Any]:
    """Return a figure's title."""
    return {
        "text": text,
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 14},
        "font": {"size": 16},
    }


def points(x: Values, y: Values, text: Values) -> Trace:
    """Return a trace of points, each with the text that it shows under the mouse."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
    }


def clones_of_kinds(view: RunView) -> dict[str, list[TrainingView]]:
    """Return the clones of each kind of mutation that has any, the controls first."""
    found: dict[str, list[TrainingView]] = {}
    for kind in (NO_GENE, *view.gene_kinds):
        clones = [clone for clone in view.clones if clone.gene == kind]
        if clones:
            found[kind] = clones
    return found


def describe(view: RunView, trial: TrainingView) -> str:
    """Return a training in words, one fact a line."""
    mark = " (selected)" if trial.selected else ""
    lines = [
        f"<b>{safe(trial.name)}</b>{mark}",
        safe(trial.change) if trial.is_clone else f"{len(trial.logs)} epochs",
        f"{safe(view.monitor)} {number(trial.value)}",
    ]
    if trial.is_clone:
        lines.append(f"gain {number(trial.gain, '+.4g')}")
    if view.shows_fitness and trial.fitness is not None:
        lines.append(f"fitness {number(trial.fitness)}")
    if trial.reason:
        lines.append(safe(trial.reason))
    if trial.failure:
        lines.append(safe(trial.failure, 100))
    return "<br>".join(lines)


def colour(view: RunView, kind: str) -> str:
    """Return the colour of a kind of mutation; controls are grey."""
    if kind not in view.gene_kinds:
        return GREY
    index = view.gene_kinds.index(kind)
    return COLOURS[index % len(COLOURS)]


def symbol(view: RunView, kind: str) -> str:
    """Return the symbol of a kind of mutation."""
    if kind not in view.gene_kinds:
        return "circle-open"
    index = view.gene_kinds.index(kind)
    return SYMBOLS[index % len(SYMBOLS)]


def label(kind: str) -> str:
    """Return what the legend calls a kind of mutation."""
    return "control" if kind == NO_GENE else safe(kind)


def safe(text: Any, longest: int = 200) -> str:
    """Return text of a run, such as a layer's name, so that Plotly sees no tags in it."""
    return html.escape(cut(str(text), longest), quote=False)


def cut(text: str, longest: int) -> str:
    """Return the first characters of a text, with an ellipsis where some are left out."""
    if len(text) <= longest:
        return text
    return text[: longest - 1] + "…"


def number(value: float | None, form: str = ".4g") -> str:
    """Return a number as text; a dash where it is missing or NaN."""
    if value is None or math.isnan(value):
        return "–"
    return format(value, form)


def finite(value: float | None) -> float | None:
    """Return a number that JSON can hold; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return value


def bounds(values: Sequence[float], share: float = 0.02) -> tuple[float, float]:
    """Return the range of most values, with a margin.

    Args:
        values: Finite ones, at least one.
        share: What share of the values at each end may be outliers.
    """
    ordered = sorted(values)
    outliers = math.floor(len(ordered) * share)
    low = ordered[outliers]
    high = ordered[-1 - outliers]
    # Where all values are the same, the range must not be empty.
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 0.1
    return low - margin, high + margin


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round numbers for a logarithmic axis.

    Args:
        low: The smallest value, positive.
        high: The largest value.
        most: How many there may be.
    """
    for steps in ("125", "13", "1"):
        found = _round_numbers(low, high, steps)
        if len(found) < 2:
            return sorted({low, high})
        if len(found) <= most:
            return found
    return found[:: 1 + len(found) // most]


def _round_numbers(low: float, high: float, steps: str) -> list[float]:
    """Return the numbers of a range whose only digit is one of some."""
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    found = []
    for decade in range(first, last + 1):
        for step in steps:
            value = float(f"{step}e{decade}")
            # The ends of a range are seldom exact: 0.001 may be a little more here.
            if low * 0.999 <= value <= high * 1.001:
                found.append(value)
    return found


def log_axis(low: float, high: float) -> Axis:
    """Return a logarithmic axis with round numbers, from one value to another."""
    ticks = log_ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{value:g}" for value in ticks],
    }
