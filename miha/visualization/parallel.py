"""Parallel coordinates: every clone a line through its hyperparameters to its gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miha.errors import MihaError
from miha.results.trials import RunView, TrainingView
from miha.visualization.scales import GainScale, Scale
from miha.visualization.theme import CLEAR, GREY, Axis, figure, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

CHARACTER = 7.5
"""Pixels of a character, as wide as the usual fonts have it."""

MOST_AXES = 12
"""Hyperparameters that are shown unless they are named."""


def plot_parallel_coordinate(result: Result, genes: Sequence[str] | None = None) -> go.Figure:
    """Plot every clone as a line through its hyperparameters to its gain.

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
    view = result.view
    names = choose_genes(view, genes)
    if genes is None:
        names = names[:MOST_AXES]
    done = [clone for clone in view.clones if clone.gain is not None]
    if not done:
        raise MihaError("There must be a clone that has finished. Received: none yet. Wait.")
    # Lines that are drawn last lie on top: the largest gains and losses.
    done.sort(key=lambda clone: abs(clone.gain or 0.0))
    gains = [clone.gain or 0.0 for clone in done]
    scale = GainScale.of(gains)
    # Longer words of one axis would lie on the next one.
    longest = 24 if len(names) <= 6 else 12
    dimensions = [_dimension(name, done, longest) for name in names]
    dimensions.append(_gain_dimension(gains, scale))
    lines = {
        "type": "parcoords",
        "line": scale.colours(gains),
        "dimensions": dimensions,
        "labelangle": -12 if len(names) > 4 else 0,
        "rangefont": {"color": CLEAR},
        # Plotly's own shadow is white, on a dark page as well.
        "tickfont": {"shadow": "none"},
        "unselected": {"line": {"color": GREY, "opacity": 0.08}},
    }
    return figure(
        [lines],
        title=title("All clones"),
        height=520,
        margin={"l": _left_margin(dimensions[0]), "r": 40, "t": 130, "b": 40},
    )


def _left_margin(first: Axis) -> int:
    """Return the pixels that the texts of the first axis need: Plotly makes no room for them."""
    longest = max(map(len, first["ticktext"]), default=0)
    # The ticks end at the axis, its name stands in the middle above it.
    characters = max(longest, len(first["label"]) / 2)
    return round(CHARACTER * characters) + 20


def choose_genes(view: RunView, genes: Sequence[str] | None) -> list[str]:
    """Return the hyperparameters to show: those named, else those that varied.

    Raises:
        MihaError: One is not known.
    """
    if genes is None:
        return list(view.varied)
    unknown = [name for name in genes if name not in view.gene_names]
    if unknown:
        raise MihaError(
            f"`genes` must name hyperparameters of the run: {view.gene_names}. "
            f"Received: {unknown}. Choose some of those."
        )
    return list(genes)


def _dimension(name: str, clones: list[TrainingView], longest: int) -> Axis:
    values = [clone.genes.get(name) for clone in clones]
    scale = Scale.of(values)
    places, texts = scale.ticks(longest=longest)
    # The line of a clone without this number passes below all others.
    if scale.is_numeric and None in values:
        places = [scale.below, *places]
        texts = ["–", *texts]
    # Here Plotly shows text as it is, and knows no tags: nothing is escaped.
    label = name if len(name) <= 26 else f"…{name[-25:]}"
    return {
        "label": label,
        "values": scale.filled(values),
        "tickvals": places,
        "ticktext": texts,
    }


def _gain_dimension(gains: list[float], scale: GainScale) -> Axis:
    places, texts = scale.ticks()
    return {
        "label": "gain",
        "values": [scale.place(gain) for gain in gains],
        "tickvals": places,
        "ticktext": texts,
    }
