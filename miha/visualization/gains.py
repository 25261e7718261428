"""Gains: how much each kind of mutation, and each new value, gained on this problem."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.results.trials import RunView, TrainingView, is_number
from miha.visualization.scales import GainScale
from miha.visualization.theme import (
    FAILED,
    GREY,
    MAIN,
    MEDIAN,
    Axis,
    Trace,
    colour,
    describe,
    figure,
    points,
    rings,
    safe,
    symbol,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

Genes = Mapping[str, Any]

MOST_VALUES = 25
"""New values that are shown, those tried most often."""

FEWEST = 5
"""Gains below which an interval would promise more than is known."""

DRAWS = 1000
"""Samples of the bootstrap."""


def plot_gains(result: Result) -> go.Figure:
    """Plot how much each kind of mutation gained, and each value that a mutation brought.

    The gain of a clone is by how much its monitored value is better than its cycle's control's
    (than its cycle's mean where there is none). A point is a mutation; a diamond is the median, a
    bar its 95 % interval where there are five gains and more; a ring is a mutation that was
    selected.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    view = result.view
    kinds = group_by_kind(view)
    values = group_by_value(view)
    scale = GainScale.of(clone.gain for clone in view.clones)
    upper = _panel(view, kinds, scale)
    lower = _panel(view, values, scale)
    for trace in lower:
        trace["yaxis"] = "y2"

    # Each panel is as high as it has rows.
    rows = len(kinds) + len(values)
    share = (len(kinds) + 1) / (rows + 3)
    kind_axis = _group_axis(kinds)
    kind_axis["domain"] = [1 - share + 0.02, 1]
    value_axis = _group_axis(values)
    value_axis["domain"] = [0, 1 - share - 0.04]
    return figure(
        upper + lower,
        title=title(f"Gain in {safe(view.monitor)} over the control"),
        height=200 + 34 * rows,
        showlegend=False,
        xaxis=_gain_axis(scale),
        yaxis=kind_axis,
        yaxis2=value_axis,
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
    clones: list[TrainingView]

    @cached_property
    def gains(self) -> list[float]:
        """The gains of the clones that did not fail."""
        return [clone.gain for clone in self.clones if clone.gain is not None]

    @cached_property
    def median(self) -> float:
        """The median gain; minus infinity where all failed."""
        if not self.gains:
            return -math.inf
        return float(np.median(self.gains))

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """A 95 % interval of the median gain; None of fewer than five.

        Source: the percentile bootstrap of B. Efron, "Bootstrap Methods: Another Look at the
        Jackknife" (1979).
        """
        gains = self.gains
        if len(gains) < FEWEST:
            return None
        # The same interval each time that the figure is drawn.
        rng = np.random.default_rng(0)
        samples = rng.choice(gains, (DRAWS, len(gains)))
        medians = np.median(samples, axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        return float(low), float(high)

    @property
    def text(self) -> str:
        """The label and the counts."""
        better = sum(gain > 0 for gain in self.gains)
        won = sum(clone.selected for clone in self.clones)
        return f"{safe(self.label, 40)} ({len(self.clones)} tried, {better} better, {won} won)"


def group_by_kind(view: RunView) -> list[Group]:
    """Group the mutated clones by the kind of mutation."""
    groups: dict[str, Group] = {}
    for clone in view.mutations:
        kind = clone.gene
        group = groups.setdefault(kind, Group(kind, kind, []))
        group.clones.append(clone)
    return sorted(groups.values(), key=lambda group: group.median)


def group_by_value(view: RunView) -> list[Group]:
    """Group the mutated clones by a new word, or by a number that became larger or smaller."""
    groups: dict[tuple[str, str], Group] = {}
    for clone in view.mutations:
        kind = clone.gene
        parent = view.parent(clone) or view.trials[0]
        labels = new_values(kind, parent.genes, clone.genes)
        # A mutation may bring the same value twice, to two layers.
        for label in dict.fromkeys(labels):
            key = (kind, label)
            group = groups.setdefault(key, Group(label, kind, []))
            group.clones.append(clone)

    by_size = list(groups.values())
    by_size.sort(key=lambda group: -len(group.clones))
    return sorted(by_size[:MOST_VALUES], key=lambda group: group.median)


def new_values(
    kind: str,
    before: Genes,
    genes: Genes,
) -> Iterator[str]:
    """Yield a label for each value that a mutation brought."""
    new = {name for name, value in genes.items() if value != before.get(name)}
    words = {name for name in new if not is_number(genes[name])}
    # An exchanged optimizer brings its own learning rate, which is not what was tried.
    shown = words or new
    for name in genes:
        if name not in shown:
            continue
        value = genes[name]
        old = before.get(name)
        family = name.split(".")[0]
        if name in words:
            yield f"{_label(kind, family)} → {value}"
        elif not is_number(old) or value > old:
            yield f"{_label(kind, name)} larger"
        else:
            yield f"{_label(kind, name)} smaller"


def _label(kind: str, name: str) -> str:
    """Return the name of a hyperparameter, with the kind of mutation where the two differ."""
    family = name.split(".")[0]
    if kind == family:
        return name
    # "activation" changes one of the "activations".
    return kind if family == f"{kind}s" else f"{kind}: {name}"


def _panel(
    view: RunView,
    groups: list[Group],
    scale: GainScale,
) -> list[Trace]:
    traces = []
    for row, group in enumerate(groups):
        trace = _clones(view, group, scale)
        # They are scattered a little so that none hides another.
        rng = np.random.default_rng(row)
        shifts = rng.uniform(-0.22, 0.22, len(group.clones))
        trace["y"] = [row + float(shift) for shift in shifts]
        traces.append(trace)
        traces.append(_rings(group, trace))
    return [*traces, _medians(groups, scale)]


def _clones(view: RunView, group: Group, scale: GainScale) -> Trace:
    """Return the clones of a group, without their rows."""
    left_edge = scale.bounds[0]
    x: list[float] = []
    symbols: list[str] = []
    for clone in group.clones:
        if clone.gain is None:
            x.append(left_edge)
            symbols.append(FAILED)
        else:
            x.append(scale.place(clone.gain))
            symbols.append(symbol(group.kind))

    text = [describe(view, clone) for clone in group.clones]
    trace = points(x, [], text)
    trace["cliponaxis"] = False
    is_small = len(x) < 60
    trace["marker"] = {
        "color": colour(group.kind),
        "size": 7 if is_small else 5,
        "opacity": 0.6 if is_small else 0.35,
        # Plotly looks at each of a list.
        "symbol": symbols if FAILED in symbols else symbol(group.kind),
    }
    return trace


def _rings(group: Group, clones: Trace) -> Trace:
    """Return the mark of the clones of a group that were selected."""
    places = zip(group.clones, clones["x"], clones["y"], strict=True)
    selected = [(x, y) for clone, x, y in places if clone.selected]
    trace = rings([x for x, _ in selected], [y for _, y in selected], size=12)
    trace["cliponaxis"] = False
    return trace


def _medians(groups: list[Group], scale: GainScale) -> Trace:
    """Return the median of each group, with its interval."""
    x: list[float] = []
    rows: list[int] = []
    text: list[str] = []
    above: list[float] = []
    below: list[float] = []
    for row, group in enumerate(groups):
        if not group.gains:
            continue
        median = group.median
        place = scale.place(median)
        low, high = group.interval or (median, median)
        x.append(place)
        rows.append(row)
        text.append(_median_text(group))
        above.append(scale.place(high) - place)
        below.append(place - scale.place(low))

    trace = points(x, rows, text)
    trace["cliponaxis"] = False
    trace["marker"] = {
        "symbol": MEDIAN,
        "size": 11,
        "color": MAIN,
        "line": {"color": "#ffffff", "width": 1},
    }
    trace["error_x"] = {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": MAIN,
        "thickness": 2.5,
        "width": 5,
    }
    return trace


def _median_text(group: Group) -> str:
    text = f"<b>{group.text}</b><br>median gain {group.median:+.4g}"
    if group.interval is None:
        return text
    low, high = group.interval
    return f"{text}<br>95 %: {low:+.4g} to {high:+.4g}"


def _gain_axis(scale: GainScale) -> Axis:
    places, texts = scale.ticks()
    return {
        "title": {"text": "gain (open triangles: failed)"},
        "range": list(scale.bounds),
        "tickvals": places,
        "ticktext": texts,
        "zeroline": True,
        "zerolinecolor": GREY,
        "zerolinewidth": 2,
        "anchor": "free",
        "position": 0,
    }


def _group_axis(groups: list[Group]) -> Axis:
    return {
        "tickvals": list(range(len(groups))),
        "ticktext": [group.text for group in groups],
        "range": [-0.7, max(len(groups) - 0.3, 0.7)],
        "ticks": "",
        "showgrid": False,
    }
