"""How every figure looks: legible on light and dark pages, and for colour-blind eyes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.utils.optional import need

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Source of the colours: M. Okabe, K. Ito, "Color Universal Design" (2008). Their black and their
# yellow are left out: one is lost on a dark page, the other on a light one.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#808080"

MAIN = "#1f88c9"
"""The main line: the blue, a little lighter, so that it stands out on a dark page as well."""

COLOURS = (VERMILION, GREEN, PURPLE, ORANGE, SKY, MAIN)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
SCALE = ((0.0, MAIN), (0.5, "#a0a0a0"), (1.0, VERMILION))
"""From poor to good: all three stand out on a light and on a dark page."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
CLEAR = "rgba(0,0,0,0)"
FAINT = "rgba(128,128,128,0.25)"


def figure(data: Sequence[dict[str, Any]], **layout: Any) -> go.Figure:
    """Return a figure in MIHA's style.

    Args:
        data: Traces, as Plotly's JSON has them.
        layout: Of the figure; axes get the style that all have.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    graph = need("plotly.graph_objects", "plot")
    axes = {key: _axis(value) for key, value in layout.items() if key[1:5] == "axis"}
    base = {"template": "none", **_BASE}
    told = [trace for trace in data if trace.get("showlegend", "name" in trace)]
    if len(told) < 2 or not layout.get("showlegend", True):  # There is no legend.
        base["margin"] = {**_BASE["margin"], "t": 60}
    return graph.Figure(data=list(data), layout={**base, **layout, **axes}, skip_invalid=False)


_BASE: dict[str, Any] = {
    "paper_bgcolor": CLEAR,
    "plot_bgcolor": CLEAR,
    "font": {"family": FONT, "size": 13, "color": "#767676"},  # 4.5:1 on white, 4:1 on black.
    "hoverlabel": {
        "bgcolor": "#2b2b2b",
        "bordercolor": "#767676",
        "font": {"color": "#ffffff", "family": FONT, "size": 13},
        "align": "left",
    },
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    "margin": {"l": 70, "r": 30, "t": 100, "b": 60},  # Above: a title and two lines of legend.
    "hovermode": "closest",
    "uirevision": "run",  # What was zoomed stays so when a figure is drawn again.
    "modebar": {"bgcolor": CLEAR, "color": GREY, "activecolor": MAIN},
}


def _axis(given: dict[str, Any]) -> dict[str, Any]:
    style = {
        "gridcolor": FAINT,
        "zeroline": False,
        "linecolor": GREY,
        "tickcolor": GREY,
        "ticks": "outside",
        "automargin": True,
    }
    return {**style, **given}


def title(text: str) -> dict[str, Any]:
    """Return a figure's title."""
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": 1, "yref": "container"}
    return {"text": text, **place, "yanchor": "top", "pad": {"t": 14}, "font": {"size": 16}}


def look(kinds: Sequence[str], kind: str) -> tuple[str, str]:
    """Return the colour and the symbol of one of several kinds; what is none of them is grey."""
    if kind not in kinds:
        return GREY, "circle-open"
    index = list(kinds).index(kind)
    return COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]


def safe(text: Any, longest: int = 200) -> str:
    """Return text that Plotly shows as it is: it would take tags for its own.

    Args:
        text: From a run: names of layers, messages.
        longest: Characters; the rest is left out.
    """
    return html.escape(cut(str(text), longest), quote=False)


def cut(text: str, longest: int) -> str:
    """Return text without what is more than so many characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def number(value: float | None) -> str:
    """Return a number for eyes."""
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Return a difference for eyes."""
    return "–" if value is None or math.isnan(value) else f"{value:+.4g}"


def bounds(values: Sequence[float], share: float = 0.02) -> tuple[float, float]:
    """Return where most values lie, with some room; outliers do not count.

    Args:
        values: Finite ones, at least one.
        share: What share of the values at each end may be outliers.
    """
    ordered = sorted(values)
    cut = math.floor(len(ordered) * share)
    low, high = ordered[cut], ordered[-1 - cut]
    room = 0.06 * (high - low) or 0.06 * abs(high) or 0.1
    return low - room, high + room


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round numbers to write on a logarithmic axis.

    Args:
        low: The smallest value, positive.
        high: The largest value.
        most: How many there may be.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [float(f"{v:.0e}") for v in found if low * 0.999 <= v <= high * 1.001]
        if len(found) <= most:
            return found if len(found) > 1 else sorted({low, high})
    return found[:: 1 + len(found) // most]


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with round numbers, from one value to another."""
    ticks = log_ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{value:g}" for value in ticks],
    }
