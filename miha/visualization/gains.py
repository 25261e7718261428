"""Gains: how much each kind of mutation, and each new value, gained on this problem."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.results.story import Story
from miha.results.trials import Trial, is_number
from miha.visualization.scales import GainScale
from miha.visualization.theme import GREY, MAIN, describe, figure, look, points, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

MOST_VALUES = 25
"""New values that are shown, those tried most often."""

DRAWS = 1000
"""Samples of the bootstrap."""


def plot_gains(result: Result) -> go.Figure:
    """Plot how much each kind of mutation gained, and each value that a mutation brought.

    The gain of a clone is its fitness less that of its cycle's unchanged clone (less its cycle's
    mean where there is none). A point is a mutation; a diamond is the median, a bar its 95 %
    interval.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    kinds = group_by_kind(story)
    values = group_by_value(story)
    scale = GainScale.of(clone.gain for clone in story.clones)
    upper = [trace | {"yaxis": "y"} for trace in _panel(story, kinds, scale)]
    lower = [trace | {"yaxis": "y2"} for trace in _panel(story, values, scale)]

    # Each panel is as high as it has rows.
    rows = len(kinds) + len(values)
    share = (len(kinds) + 1) / (rows + 3)
    return figure(
        [*upper, *lower],
        title=title("Gain in fitness over the unchanged clone"),
        height=200 + 34 * rows,
        showlegend=False,
        xaxis=_gain_axis(scale),
        yaxis={**_group_axis(kinds), "domain": [1 - share + 0.02, 1]},
        yaxis2={**_group_axis(values), "domain": [0, 1 - share - 0.04]},
    )


@dataclass(frozen=True)
class Group:
    """The clones that one kind of mutation made, or those that got one value.

    Attributes:
        label: What they have in common.
        kind: The kind of mutation.
        clones: The clones; those that failed have no gain.
    """

    label: str
    kind: str
    clones: Sequence[Trial]

    @property
    def gains(self) -> list[float]:
        """The gains of the clones that did not fail."""
        return [clone.gain for clone in self.clones if clone.gain is not None]

    @property
    def median(self) -> float:
        """The median gain; minus infinity where all failed."""
        if not self.gains:
            return -math.inf
        return float(np.median(self.gains))

    def interval(self) -> tuple[float, float] | None:
        """Return a 95 % interval of the median gain; None of fewer than three.

        Source: the percentile bootstrap of B. Efron, "Bootstrap Methods: Another Look at the
        Jackknife" (1979).
        """
        gains = self.gains
        if len(gains) < 3:
            return None
        rng = np.random.default_rng(0)
        samples = rng.choice(gains, (DRAWS, len(gains)))
        medians = np.median(samples, axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        return float(low), float(high)

    def describe(self) -> str:
        """Return label and counts."""
        better = sum(gain > 0 for gain in self.gains)
        won = sum(clone.selected for clone in self.clones)
        return f"{safe(self.label, 40)} ({len(self.clones)} tried, {better} better, {won} won)"


def group_by_kind(story: Story) -> list[Group]:
    """Group the mutated clones by the kind of mutation."""
    clones_of: dict[str, list[Trial]] = defaultdict(list)
    for clone in story.mutations:
        clones_of[clone.gene].append(clone)
    groups = [Group(kind, kind, clones) for kind, clones in clones_of.items()]
    return sorted(groups, key=lambda group: group.median)


def group_by_value(story: Story) -> list[Group]:
    """Group the mutated clones by a new word, or by a number that became larger or smaller."""
    start = story.trials[0].genes if story.trials else {}
    clones_of: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for clone in story.mutations:
        parent = story.parent(clone)
        before = start if parent is None else parent.genes
        # A mutation may bring the same value twice, to two layers.
        for label in dict.fromkeys(_new_values(clone.gene, before, clone.genes)):
            clones_of[clone.gene, label].append(clone)

    ranked = sorted(clones_of.items(), key=lambda item: -len(item[1]))
    groups = [Group(label, kind, clones) for (kind, label), clones in ranked[:MOST_VALUES]]
    return sorted(groups, key=lambda group: group.median)


def _new_values(kind: str, before: Mapping[str, Any], genes: Mapping[str, Any]) -> Iterator[str]:
    """Yield a label for each value that a mutation brought."""
    new = {name: value for name, value in genes.items() if value != before.get(name)}
    words = {name: value for name, value in new.items() if not is_number(value)}
    for name, value in words.items():
        family = name.split(".")[0]
        yield f"{_label(kind, family)} → {value}"
    # An exchanged optimizer brings its own learning rate, which is not what was tried.
    if words:
        return
    for name, value in new.items():
        old = before.get(name)
        is_larger = not is_number(old) or value > old
        yield f"{_label(kind, name)} {'larger' if is_larger else 'smaller'}"


def _label(kind: str, name: str) -> str:
    """Return the name of a hyperparameter, with the kind of mutation where the two differ."""
    family = name.split(".")[0]
    if kind == family:
        return name
    # "activation" changes one of the "activations".
    return kind if family == f"{kind}s" else f"{kind}: {name}"


def _panel(story: Story, groups: Sequence[Group], scale: GainScale) -> list[dict[str, Any]]:
    rows = [_clones(story, group, row, scale) for row, group in enumerate(groups)]
    return [*rows, _medians(groups, scale)]


def _clones(story: Story, group: Group, row: int, scale: GainScale) -> dict[str, Any]:
    """Return the clones of a group, scattered a little so that none hides another."""
    colour, symbol = look(story.gene_kinds, group.kind)
    is_small = len(group.clones) < 60
    left_edge = scale.bounds[0]
    x: list[float] = []
    symbols: list[str] = []
    for clone in group.clones:
        if clone.gain is None:
            x.append(left_edge)
            symbols.append("triangle-left-open")
        else:
            x.append(scale.place(clone.gain))
            symbols.append(symbol)
    shifts = np.random.default_rng(row).uniform(-0.22, 0.22, len(x))
    return points(
        x,
        [row + float(shift) for shift in shifts],
        [describe(story, clone) for clone in group.clones],
        cliponaxis=False,
        marker={
            "color": colour,
            "size": 7 if is_small else 5,
            "opacity": 0.6 if is_small else 0.35,
            "symbol": symbols,
        },
    )


def _medians(groups: Sequence[Group], scale: GainScale) -> dict[str, Any]:
    """Return the median of each group, with its interval."""
    x: list[float] = []
    rows: list[int] = []
    text: list[str] = []
    above: list[float] = []
    below: list[float] = []
    for row, group in enumerate(groups):
        if not group.gains:
            continue
        place = scale.place(group.median)
        low, high = group.interval() or (group.median, group.median)
        x.append(place)
        rows.append(row)
        text.append(_median_text(group))
        above.append(scale.place(high) - place)
        below.append(place - scale.place(low))
    return points(
        x,
        rows,
        text,
        cliponaxis=False,
        marker={
            "symbol": "diamond",
            "size": 11,
            "color": MAIN,
            "line": {"color": "#ffffff", "width": 1},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": MAIN,
            "thickness": 2.5,
            "width": 5,
        },
    )


def _median_text(group: Group) -> str:
    text = f"<b>{group.describe()}</b><br>median gain {group.median:+.4g}"
    interval = group.interval()
    if interval is None:
        return text
    low, high = interval
    return f"{text}<br>95 %: {low:+.4g} to {high:+.4g}"


def _gain_axis(scale: GainScale) -> dict[str, Any]:
    places, texts = scale.ticks()
    return {
        "title": {"text": "gain in fitness (open triangles at the left edge: failed)"},
        "range": list(scale.bounds),
        "tickvals": places,
        "ticktext": texts,
        "zeroline": True,
        "zerolinecolor": GREY,
        "zerolinewidth": 2,
        "anchor": "free",
        "position": 0,
    }


def _group_axis(groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(groups))),
        "ticktext": [group.describe() for group in groups],
        "range": [-0.7, max(len(groups) - 0.3, 0.7)],
        "ticks": "",
        "showgrid": False,
    }
