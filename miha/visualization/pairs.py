"""Pairs: two hyperparameters against each other, coloured by what the clones gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.errors import MihaError
from miha.results.story import Story
from miha.results.trials import Trial
from miha.visualization.gain_axis import GainScale
from miha.visualization.hover import describe
from miha.visualization.parallel import chosen
from miha.visualization.scales import Scale
from miha.visualization.theme import GREY, figure, safe, title

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
    names = chosen(story, genes)
    if genes is None:
        names = sorted(names, key=lambda name: -_count(story, name))[:2]
    if len(names) != 2:
        raise MihaError(
            "Two hyperparameters must be shown against each other. "
            f"Received: {names}. Name two, as in genes=['optimizer', 'batch_size']."
        )
    scales = [Scale.of([clone.genes.get(name) for clone in story.clones]) for name in names]
    axes = [_axis(name, scale) for name, scale in zip(names, scales, strict=True)]
    return figure(
        _points(story, names, scales),
        title=title(f"{safe(names[0], 40)} and {safe(names[1], 40)}"),
        height=520,
        xaxis=axes[0],
        yaxis=axes[1],
    )


def _count(story: Story, name: str) -> int:
    return len({str(clone.genes.get(name)) for clone in story.clones})


def _axis(name: str, scale: Scale) -> dict[str, Any]:
    places, texts = scale.ticks()
    return {
        "title": {"text": safe(name, 40)},
        "tickvals": places,
        "ticktext": [safe(text) for text in texts],
    }


def _points(story: Story, names: Sequence[str], scales: Sequence[Scale]) -> list[dict[str, Any]]:
    done = [clone for clone in story.clones if clone.gain is not None]
    failed = [clone for clone in story.clones if clone.gain is None]
    gains = [clone.gain or 0.0 for clone in done]
    colours = {
        **GainScale.of(gains).colours(gains),
        "size": [13 if clone.selected else 9 for clone in done],
        "line": {"color": GREY, "width": [2 if clone.selected else 0 for clone in done]},
        "opacity": 0.8 if len(done) < 150 else 0.55,
    }
    traces = [_trace(story, done, names, scales, {"marker": colours, "name": "clones"})]
    if failed:
        marker = {"symbol": "x-thin", "size": 9, "line": {"color": GREY, "width": 2}}
        traces.append(_trace(story, failed, names, scales, {"marker": marker, "name": "failed"}))
    return traces


def _trace(
    story: Story,
    clones: Sequence[Trial],
    names: Sequence[str],
    scales: Sequence[Scale],
    look: dict[str, Any],
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, y = (
        [_scattered(scale, clone.genes.get(name), rng) for clone in clones]
        for name, scale in zip(names, scales, strict=True)
    )
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "text": [describe(story, clone) for clone in clones],
        "hovertemplate": "%{text}<extra></extra>",
        **look,
    }


def _scattered(scale: Scale, value: Any, rng: np.random.Generator) -> float | None:
    """Return a place, off by a little where many clones have the same."""
    place = scale.place(value)
    places = scale.ticks()[0]
    width = 0.25 if not scale.is_numeric else 0.012 * ((max(places) - min(places)) or 1.0)
    return None if place is None else place + float(rng.uniform(-width, width))
