"""Parallel coordinates: every clone a line through its hyperparameters to its fitness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.errors import MihaError
from miha.results.story import Story
from miha.results.trials import Trial
from miha.visualization.gain_axis import GainScale
from miha.visualization.scales import Scale
from miha.visualization.theme import figure, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

MOST_AXES = 12
"""Hyperparameters that are shown unless they are named."""


def plot_parallel_coordinate(result: Result, genes: Sequence[str] | None = None) -> go.Figure:
    """Plot every clone as a line through its hyperparameters to its gain in fitness.

    An axis can be brushed to see some clones alone. Clones that failed are left out.

    Args:
        result: A run, finished or not.
        genes: Names of hyperparameters; by default those that were not the same in all clones.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: No clone has finished, or there is no such hyperparameter.
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    known = [clone for clone in story.clones if clone.gain is not None]
    clones = sorted(known, key=lambda clone: abs(clone.gain or 0.0))  # What stands out on top.
    names = chosen(story, genes)[: MOST_AXES if genes is None else None]
    if not clones:
        raise MihaError("There must be a clone that has finished. Received: none yet. Wait.")
    gains = [clone.gain or 0.0 for clone in clones]
    scale = GainScale.of(gains)
    places, texts = scale.ticks()
    longest = 24 if len(names) <= 6 else 12  # Else the words of one axis lie on the next one.
    dimensions = [_dimension(name, clones, longest) for name in names]
    last = {"label": "gain in fitness", "values": [scale.place(gain) for gain in gains]}
    dimensions.append({**last, "tickvals": places, "ticktext": texts})
    trace = {
        "type": "parcoords",
        "line": scale.colours(gains),
        "dimensions": dimensions,
        "labelangle": -12 if len(names) > 4 else 0,
        "rangefont": {"color": "rgba(0,0,0,0)"},
        "tickfont": {"shadow": "none"},  # Plotly's is white, on a dark page as well.
        "unselected": {"line": {"color": "#808080", "opacity": 0.08}},
    }
    return figure(
        [trace],
        title=title("All clones"),
        height=520,
        margin={"l": 90, "r": 40, "t": 130, "b": 40},
    )


def chosen(story: Story, genes: Sequence[str] | None) -> list[str]:
    """Return the hyperparameters to show: those named, else those that varied.

    Raises:
        MihaError: One is not known.
    """
    unknown = [name for name in genes or () if name not in story.gene_names]
    if unknown:
        raise MihaError(
            f"`genes` must name hyperparameters of the run: {story.gene_names}. "
            f"Received: {unknown}. Choose some of those."
        )
    return list(genes) if genes is not None else story.varied


def _dimension(name: str, clones: Sequence[Trial], longest: int) -> dict[str, Any]:
    values = [clone.genes.get(name) for clone in clones]
    scale = Scale.of(values)
    places, texts = scale.ticks(longest=longest)
    if scale.is_numeric and None in values:  # The line ends below all others.
        places, texts = [scale.below, *places], ["–", *texts]
    # Here Plotly takes text as it is, and knows no tags: nothing is escaped.
    short = name if len(name) <= 26 else f"…{name[-25:]}"
    return {"label": short, "values": scale.filled(values), "tickvals": places, "ticktext": texts}
