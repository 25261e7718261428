"""What paid: how much each kind of mutation, and each value, gained on this problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.results.story import Story
from miha.visualization.gain_axis import GainScale
from miha.visualization.groups import Group, by_kind, by_value
from miha.visualization.hover import describe
from miha.visualization.theme import GREY, MAIN, figure, look, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result


def plot_what_paid(result: Result) -> go.Figure:
    """Plot how much each kind of mutation gained, and each value that a mutation brought.

    The gain of a clone is its fitness less that of its cycle's unchanged clone (less its cycle's
    mean where there is none). A point is a mutation, after the last training of its clone in its
    cycle; a diamond is the median, a bar its 95 % interval.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    kinds, values = by_kind(story), by_value(story)
    groups = [*kinds, *values]
    scale = GainScale.of(clone.gain for clone in story.clones)
    data = [
        trace
        for row, part in enumerate((kinds, values), start=1)
        for trace in _panel(story, part, scale, row)
    ]
    places, texts = scale.ticks()
    share = (len(kinds) + 1) / (len(groups) + 3)
    return figure(
        data,
        title=title("What paid: gain in fitness over the unchanged clone"),
        height=200 + 34 * len(groups),
        showlegend=False,
        xaxis={
            "title": {"text": "gain in fitness (open triangles at the left edge: failed)"},
            "range": list(scale.bounds),
            "tickvals": places,
            "ticktext": texts,
            "zeroline": True,
            "zerolinecolor": GREY,
            "zerolinewidth": 2,
            "anchor": "free",
            "position": 0,
        },
        yaxis={**_axis(kinds), "domain": [1 - share + 0.02, 1]},
        yaxis2={**_axis(values), "domain": [0, 1 - share - 0.04]},
    )


def _panel(
    story: Story, groups: Sequence[Group], scale: GainScale, row: int
) -> Iterator[dict[str, Any]]:
    axis = {"yaxis": "y" if row == 1 else f"y{row}"}
    for place, group in enumerate(groups):
        yield {**_points(story, group, place, scale), **axis}
    yield {**_medians(groups, scale), **axis}


def _points(story: Story, group: Group, place: int, scale: GainScale) -> dict[str, Any]:
    """Return the clones of a group, scattered a little so that none hides another."""
    colour, symbol = look(story.gene_kinds, group.kind)
    edge, few = scale.bounds[0], len(group.clones) < 60
    gains = [clone.gain for clone in group.clones]
    scatter = np.random.default_rng(place).uniform(-0.22, 0.22, len(gains))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [edge if gain is None else scale.place(gain) for gain in gains],
        "y": [place + float(shift) for shift in scatter],
        "text": [describe(story, clone) for clone in group.clones],
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "color": colour,
            "size": 7 if few else 5,
            "opacity": 0.6 if few else 0.35,
            "symbol": [symbol if gain is not None else "triangle-left-open" for gain in gains],
        },
    }


def _medians(groups: Sequence[Group], scale: GainScale) -> dict[str, Any]:
    shown = [(place, group) for place, group in enumerate(groups) if group.gains]
    middles = [scale.place(group.middle) for _, group in shown]
    intervals = [group.interval() or (group.middle, group.middle) for _, group in shown]
    lows, highs = ([scale.place(i[end]) for i in intervals] for end in (0, 1))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": middles,
        "y": [place for place, _ in shown],
        "text": [_say(group) for _, group in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "symbol": "diamond",
            "size": 11,
            "color": MAIN,
            "line": {"color": "#ffffff", "width": 1},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - middle for high, middle in zip(highs, middles, strict=True)],
            "arrayminus": [middle - low for low, middle in zip(lows, middles, strict=True)],
            "color": MAIN,
            "thickness": 2.5,
            "width": 5,
        },
    }


def _say(group: Group) -> str:
    interval = group.interval()
    between = "" if interval is None else f"<br>95 %: {interval[0]:+.4g} to {interval[1]:+.4g}"
    return f"<b>{group.describe()}</b><br>median gain {group.middle:+.4g}{between}"


def _axis(groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(groups))),
        "ticktext": [group.describe() for group in groups],
        "range": [-0.7, max(len(groups) - 0.3, 0.7)],
        "ticks": "",
        "showgrid": False,
    }
