"""Pairs: two hyperparameters against each other, coloured by what the clones gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.errors import MihaError
from miha.results.story import Story
from miha.results.trials import Trial
from miha.visualization.parallel import choose_genes
from miha.visualization.scales import GainScale, Scale
from miha.visualization.theme import GREY, describe, figure, points, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result


def plot_pairs(result: Result, genes: Sequence[str] | None = None) -> go.Figure:
    """Plot two hyperparameters of all clones against each other, coloured by gain in fitness.

    Args:
        result: A run, finished or not.
        genes: Names of two hyperparameters; by default the two that had the most values.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: There are no two such hyperparameters.
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    names = choose_genes(story, genes)
    if genes is None:
        counts = {name: len({str(value) for value in _values(story, name)}) for name in names}
        names = sorted(names, key=lambda name: -counts[name])[:2]
    if len(names) != 2:
        raise MihaError(
            "Two hyperparameters must be shown against each other. "
            f"Received: {names}. Name two, as in genes=['optimizer', 'batch_size']."
        )
    scales = {name: Scale.of(_values(story, name)) for name in names}
    x_axis, y_axis = [_axis(name, scale) for name, scale in scales.items()]
    return figure(
        _traces(story, scales),
        title=title(f"{safe(names[0], 40)} and {safe(names[1], 40)}"),
        height=520,
        xaxis=x_axis,
        yaxis=y_axis,
    )


def _values(story: Story, name: str) -> list[Any]:
    return [clone.genes.get(name) for clone in story.clones]


def _axis(name: str, scale: Scale) -> dict[str, Any]:
    places, texts = scale.ticks()
    return {
        "title": {"text": safe(name, 40)},
        "tickvals": places,
        "ticktext": [safe(text) for text in texts],
    }


def _traces(story: Story, scales: dict[str, Scale]) -> list[dict[str, Any]]:
    done = [clone for clone in story.clones if clone.gain is not None]
    failed = [clone for clone in story.clones if clone.gain is None]
    gains = [clone.gain or 0.0 for clone in done]
    marker = {
        **GainScale.of(gains).colours(gains),
        "size": [13 if clone.selected else 9 for clone in done],
        "line": {"color": GREY, "width": [2 if clone.selected else 0 for clone in done]},
        "opacity": 0.8 if len(done) < 150 else 0.55,
    }
    traces = [{**_points(story, done, scales), "marker": marker, "name": "clones"}]
    if failed:
        marker = {"symbol": "x-thin", "size": 9, "line": {"color": GREY, "width": 2}}
        traces.append({**_points(story, failed, scales), "marker": marker, "name": "failed"})
    return traces


def _points(story: Story, clones: Sequence[Trial], scales: dict[str, Scale]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, y = [_scattered(clones, name, scale, rng) for name, scale in scales.items()]
    return points(x, y, [describe(story, clone) for clone in clones])


def _scattered(
    clones: Sequence[Trial], name: str, scale: Scale, rng: np.random.Generator
) -> list[float | None]:
    """Return the clones' places, each off by a little so that none hides another."""
    width = 0.25
    if scale.is_numeric:
        ticks, _ = scale.ticks()
        width = 0.012 * ((max(ticks) - min(ticks)) or 1.0)
    places = [scale.place(clone.genes.get(name)) for clone in clones]
    return [
        None if place is None else place + float(rng.uniform(-width, width)) for place in places
    ]
