"""Pairs: two hyperparameters against each other, coloured by what the clones gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.errors import MihaError
from miha.results.trials import RunView, TrainingView
from miha.visualization.parallel import choose_genes
from miha.visualization.scales import GainScale, Scale
from miha.visualization.theme import (
    GREY,
    Axis,
    Trace,
    describe,
    figure,
    points,
    rings,
    safe,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

Scales = dict[str, Scale]
"""The scale of each of the two hyperparameters, by its name."""


def plot_pairs(result: Result, genes: Sequence[str] | None = None) -> go.Figure:
    """Plot two hyperparameters of all clones against each other, coloured by gain.

    Args:
        result: A run, finished or not.
        genes: Names of two hyperparameters; by default the two that had the most values.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: There are no two such hyperparameters.
        MissingPackageError: Plotly is not installed.
    """
    view = result.view
    names = choose_genes(view, genes)
    if genes is None:
        names.sort(key=lambda name: -_count(view, name))
        names = names[:2]
    if len(names) != 2:
        raise MihaError(
            "Two hyperparameters must be shown against each other. "
            f"Received: {names}. Name two, as in genes=['optimizer', 'batch_size']."
        )
    x_name, y_name = names
    x_scale = Scale.of(_values(view.clones, x_name))
    y_scale = Scale.of(_values(view.clones, y_name))
    scales = {x_name: x_scale, y_name: y_scale}
    return figure(
        _traces(view, scales),
        title=title(f"{safe(x_name, 40)} and {safe(y_name, 40)}"),
        height=520,
        xaxis=_axis(x_name, x_scale),
        yaxis=_axis(y_name, y_scale),
    )


def _values(clones: list[TrainingView], name: str) -> list[Any]:
    return [clone.genes.get(name) for clone in clones]


def _count(view: RunView, name: str) -> int:
    """Return how many different values a hyperparameter had."""
    values = map(str, _values(view.clones, name))
    return len(set(values))


def _axis(name: str, scale: Scale) -> Axis:
    places, texts = scale.ticks()
    axis: Axis = {
        "title": {"text": safe(name, 40)},
        "tickvals": places,
        "ticktext": [safe(text) for text in texts],
    }
    if not scale.is_numeric:
        # Points are scattered about their word: the last one must be seen as well.
        axis["range"] = [-0.5, len(places) - 0.5]
    return axis


def _traces(view: RunView, scales: Scales) -> list[Trace]:
    done = [clone for clone in view.clones if clone.gain is not None]
    gains = [clone.gain or 0.0 for clone in done]
    trace = _points(view, done, scales)
    trace["name"] = "clones"
    trace["marker"] = GainScale.of(gains).colours(gains)
    trace["marker"] |= {
        "size": 9,
        "opacity": 0.8 if len(done) < 150 else 0.55,
    }
    places = zip(done, trace["x"], trace["y"], strict=True)
    selected = [(x, y) for clone, x, y in places if clone.selected]
    ring = rings([x for x, _ in selected], [y for _, y in selected])

    # Clones that failed have no colour: they have no gain.
    failed = [clone for clone in view.clones if clone.gain is None]
    if not failed:
        return [trace, ring]
    crosses = _points(view, failed, scales)
    crosses["name"] = "failed"
    crosses["marker"] = {
        "symbol": "x-thin",
        "size": 9,
        "line": {"color": GREY, "width": 2},
    }
    return [trace, ring, crosses]


def _points(view: RunView, clones: list[TrainingView], scales: Scales) -> Trace:
    # The same places each time, or the points of a live page would jump.
    rng = np.random.default_rng(0)
    axes: list[list[float | None]] = []
    for name, scale in scales.items():
        values = _values(clones, name)
        axes.append(_scattered(scale, values, rng))
    x, y = axes
    text = [describe(view, clone) for clone in clones]
    return points(x, y, text)


def _scattered(
    scale: Scale,
    values: list[Any],
    rng: np.random.Generator,
) -> list[float | None]:
    """Return the places of values, each off by a little so that none hides another."""
    width = 0.25
    if scale.is_numeric:
        ticks, _ = scale.ticks()
        length = max(ticks) - min(ticks)
        width = 0.012 * (length or 1.0)
    places: list[float | None] = []
    for value in values:
        place = scale.place(value)
        if place is not None:
            place += float(rng.uniform(-width, width))
        places.append(place)
    return places
