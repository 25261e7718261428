"""How every figure looks: legible on light and dark pages, and for colour-blind eyes."""

from __future__ import annotations

import html
import math
import zlib
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

KINDS = {
    NO_GENE: (GREY, "circle"),
    "optimizer": (VERMILION, "square"),
    "learning_rate": (GREEN, "triangle-up"),
    "batch_size": (PURPLE, "triangle-down"),
    "activation": (ORANGE, "hexagon"),
    "activations": (SKY, "diamond-tall"),
    "weight_decay": (SKY, "cross"),
    "dropout": (VERMILION, "x"),
    "noise": (GREEN, "pentagon"),
    "input_noise": (PURPLE, "bowtie"),
    "label_smoothing": (ORANGE, "hourglass"),
    "augmentation": (SKY, "triangle-right"),
    "restart": (PURPLE, "star"),
    "crossover": (ORANGE, "star-triangle-up"),
    "soup": (ORANGE, "star-triangle-down"),
}
"""Colour and symbol of each kind of mutation: the same in every figure, run and moment."""

OTHER_SYMBOLS = ("hexagram", "star-square", "octagon", "triangle-ne", "triangle-sw", "square-x")
"""Of mutations that a user wrote; their names choose one, and a colour."""

SYMBOLS_OF_RUNS = ("circle", "square", "triangle-up", "cross", "x", "pentagon")
"""Of several runs in one figure."""

# Marks that no kind has: what was selected, the best network, a median, a way back, a failure.
SELECTED = "circle-open"
BEST = "star-diamond"
MEDIAN = "diamond"
RETURN = "triangle-left"
FAILED = "triangle-left-open"
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
        if name.startswith("yaxis") and "title" in value:
            # Else a title may lie on the numbers.
            whole[name]["title"] = {"standoff": 12} | value["title"]
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


def colour(kind: str) -> str:
    """Return the colour of a kind of mutation; controls are grey."""
    return look(kind)[0]


def symbol(kind: str) -> str:
    """Return the symbol of a kind of mutation."""
    return look(kind)[1]


def look(kind: str) -> tuple[str, str]:
    """Return colour and symbol of a kind of mutation."""
    if kind in KINDS:
        return KINDS[kind]
    # By its name, and not by what else was tried: it looks the same in the next run.
    number = zlib.crc32(kind.encode())
    # The last colour is the main line's.
    colours = COLOURS[:-1]
    shape = number // len(colours)
    return colours[number % len(colours)], OTHER_SYMBOLS[shape % len(OTHER_SYMBOLS)]


def rings(x: Values, y: Values, size: int = 15) -> Trace:
    """Return the mark of what was selected: a ring around its symbol.

    Args:
        x: Where the selected clones are.
        y: Where they are.
        size: In pixels, larger than their symbols.
    """
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "selected",
        "x": x,
        "y": y,
        # The symbol inside tells what it is.
        "hoverinfo": "skip",
        "marker": {"symbol": SELECTED, "size": size, "color": MAIN, "line": {"width": 2}},
    }


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
