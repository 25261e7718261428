"""The lineage: a tree of cycles, who was tried in each, who won, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miha.story import Story
from miha.trials import NO_GENE, Trial
from miha.visualization.gains import GainScale
from miha.visualization.theme import GREY, MAIN, figure, look, safe, title
from miha.visualization.words import describe

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.result import Result


def plot_lineage(result: Result) -> go.Figure:
    """Plot who was tried in each cycle, who won, and by how much.

    A column is a cycle, its clones one below the other, the fittest on top; lines go from each
    winner to the clones made of it. Below, by how much the winner was fitter than the unchanged
    clone of its cycle.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    places, last = _places(story), max(story.cycles, default=1)
    most = max((len(clones) for clones in story.cycles.values()), default=1)
    scale = GainScale.of(c.gain for c in story.clones if c.selected)
    levels, texts = scale.ticks(gap=0.2)
    data = [*_edges(story, places), *_nodes(story, places), *_leads(story, scale)]
    return figure(
        data,
        title=title("Lineage"),
        height=min(900, 330 + 34 * most),
        xaxis={"title": {"text": "cycle"}, "anchor": "y2", "showgrid": False}
        | {"range": [-0.4, last + 0.6], **_ticks(story)},
        yaxis={
            "title": {"text": "rank in its cycle"},
            "range": [most + 0.6, 0.4],
            "domain": [0.34, 1],
            "showgrid": False,
            "tickformat": "d",
        },
        yaxis2={
            "title": {"text": "winner's gain"},
            "domain": [0, 0.24],
            "range": list(scale.bounds),
            "tickvals": levels,
            "ticktext": texts,
            "zeroline": True,
            "zerolinecolor": GREY,
        },
    )


def _ticks(story: Story) -> dict[str, Any]:
    return {"dtick": 1} if len(story.cycles) <= 25 else {}


def _places(story: Story) -> dict[int, tuple[int, int]]:
    """Return column and rank of each clone, by its identity; the selected one is the first."""
    places: dict[int, tuple[int, int]] = {}
    for cycle, clones in story.cycles.items():
        ranked = sorted(clones, key=lambda c: (not c.selected, -_fitness(c)))
        places |= {id(clone): (cycle, rank) for rank, clone in enumerate(ranked, start=1)}
    return places


def _fitness(clone: Trial) -> float:
    fitness = clone.fitness
    return -math.inf if fitness is None or math.isnan(fitness) else fitness


def _edges(story: Story, places: dict[int, tuple[int, int]]) -> list[dict[str, Any]]:
    """Return lines from each winner to the clones of the next cycle, the main line stronger."""
    named = {clone.archive: places[id(clone)] for clone in story.clones if clone.archive}
    faint: tuple[list[Any], list[Any]] = ([], [])
    strong: tuple[list[Any], list[Any]] = ([], [])
    for cycle, clones in story.cycles.items():
        winner = next((c for c in story.cycles.get(cycle - 1, []) if c.selected), None)
        origin = places[id(winner)] if winner else (cycle - 1, 1)
        for clone in clones:
            column, rank = places[id(clone)]
            x, y = strong if clone.selected else faint
            # A second parent is one of the clones.
            for start in [origin, *(named[n] for n in clone.parents[1:] if n in named)]:
                x += [start[0], column, None]
                y += [start[1], rank, None]
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    width = 1 if len(story.clones) <= 150 else 0.5
    return [
        {**common, "x": faint[0], "y": faint[1], "line": {"color": GREY, "width": width}}
        | {"opacity": 0.35},
        {**common, "x": strong[0], "y": strong[1], "line": {"color": MAIN, "width": 3}},
    ]


def _nodes(story: Story, places: dict[int, tuple[int, int]]) -> list[dict[str, Any]]:
    traces = []
    for kind in (NO_GENE, *story.gene_kinds):
        clones = [clone for clone in story.clones if clone.gene == kind]
        if clones:
            traces.append(_node(story, kind, clones, places))
    return traces


def _node(
    story: Story, kind: str, clones: Sequence[Trial], places: dict[int, tuple[int, int]]
) -> dict[str, Any]:
    colour, symbol = look(story.gene_kinds, kind)
    size = 11 if len(story.cycles) <= 25 else 7
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "unchanged" if kind == NO_GENE else safe(kind),
        "x": [places[id(clone)][0] for clone in clones],
        "y": [places[id(clone)][1] for clone in clones],
        "text": [describe(story, clone) for clone in clones],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": colour,
            "symbol": symbol,
            "size": [size + 4 if clone.selected else size for clone in clones],
            "opacity": [0.35 if clone.failure else 1 for clone in clones],
            "line": {"color": colour, "width": 1},
        },
    }


def _leads(story: Story, scale: GainScale) -> list[dict[str, Any]]:
    """Return a bar for each winner: its gain over the unchanged clone."""
    winners = [c for c in story.clones if c.selected and c.gain is not None]
    return [
        {
            "type": "bar",
            "name": "winner's gain",
            "x": [clone.cycle for clone in winners],
            "y": [scale.place(clone.gain or 0.0) for clone in winners],
            "width": 0.6,
            "text": [describe(story, clone) for clone in winners],
            "hovertemplate": "%{text}<extra></extra>",
            "textposition": "none",
            "marker": {"color": [look(story.gene_kinds, c.gene)[0] for c in winners]},
            "yaxis": "y2",
            "showlegend": False,
        }
    ]
