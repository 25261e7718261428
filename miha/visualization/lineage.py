"""The lineage: a tree of cycles, who was tried in each, who won, and by how much."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miha.results.story import Story
from miha.results.trials import NO_GENE, Trial
from miha.visualization.gain_axis import GainScale
from miha.visualization.hover import describe
from miha.visualization.theme import GREY, MAIN, figure, look, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

Place = tuple[float, float]
"""Column and rank."""

STAGES = 0.72
"""How much of the way to the next cycle clones take that go on."""


def plot_lineage(result: Result) -> go.Figure:
    """Plot who was tried in each cycle, who won, and by how much.

    A column is a cycle, its clones one below the other, the fittest on top; clones that go on, or
    are made of two, stand to its right. Lines go from each network to the clones made of it, the
    main line is blue; where the run went back to an older network, it passes above. A small blue
    point is a cycle in which the network trained alone. Below, by how much the winner was fitter
    than the unchanged clone of its cycle.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    places, cycles = _places(story), [trial.cycle or 0 for trial in story.trials]
    most = max((rank for _, rank in places.values()), default=1)
    scale = GainScale.of(c.gain for c in story.clones if c.selected)
    levels, texts = scale.ticks(gap=0.2)
    data = [*_edges(story, places), *_nodes(story, places), *_leads(story, scale)]
    return figure(
        data,
        title=title("Lineage"),
        height=min(900, 330 + 34 * int(most)),
        xaxis={"title": {"text": "cycle"}, "anchor": "y2", "showgrid": False}
        | {"range": [-0.4, max([*cycles, 1]) + 0.9], **_ticks(max([*cycles, 1]))},
        yaxis={
            "title": {"text": "rank in its cycle"},
            "range": [most + 0.6, 0.2],
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


def _ticks(cycles: int) -> dict[str, Any]:
    return {"dtick": 1} if cycles <= 25 else {}


def _places(story: Story) -> dict[int, Place]:
    """Return column and rank of each training, by its identity; the selected one is the first."""
    stages = 1 + max((clone.stage for clone in story.clones), default=0)
    groups: dict[tuple[int | None, int], list[Trial]] = defaultdict(list)
    for clone in story.clones:
        groups[clone.cycle, clone.stage].append(clone)
    places: dict[int, Place] = {}
    for (cycle, stage), clones in groups.items():
        column = (cycle or 0) + STAGES * stage / stages
        ranked = sorted(clones, key=lambda c: (not c.selected, -_fitness(c)))
        places |= {id(clone): (column, rank) for rank, clone in enumerate(ranked, start=1)}
    winners = {clone.cycle: places[id(clone)] for clone in story.clones if clone.selected}
    for trial in story.trials:
        if not trial.is_clone and trial.phase != "final":
            places[id(trial)] = winners.get(trial.cycle, (trial.cycle or 0, 1))
    return places


def _fitness(clone: Trial) -> float:
    fitness = clone.fitness
    return -math.inf if fitness is None or math.isnan(fitness) else fitness


def _edges(story: Story, places: Mapping[int, Place]) -> list[dict[str, Any]]:
    """Return lines from each network to the clones made of it, the main line stronger."""
    faint: tuple[list[Any], list[Any]] = ([], [])
    strong: tuple[list[Any], list[Any]] = ([], [])
    for trial in story.trials:
        # A winner that trains on stays where it is.
        if id(trial) in places and (trial.is_clone or trial.cycle not in story.won):
            for number, parent in enumerate(story.parents(trial)):
                x, y = strong if trial.is_on_main_line and not number else faint
                way = _way(places[id(parent)], places[id(trial)], trial.stage > 0)
                x += [column for column, _ in way] + [None]
                y += [rank for _, rank in way] + [None]
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    width = 1 if len(story.clones) <= 150 else 0.5
    return [
        {**common, "x": faint[0], "y": faint[1], "line": {"color": GREY, "width": width}}
        | {"opacity": 0.35},
        {**common, "x": strong[0], "y": strong[1], "line": {"color": MAIN, "width": 3}},
    ]


def _way(start: Place, end: Place, is_same_cycle: bool) -> list[Place]:
    """Return the corners of a line; one that passes over cycles does so above them."""
    if is_same_cycle or int(end[0]) - int(start[0]) < 2:
        return [start, end]
    return [start, (start[0] + 0.3, 0.5), (end[0] - 0.5, 0.5), end]


def _nodes(story: Story, places: Mapping[int, Place]) -> list[dict[str, Any]]:
    traces = []
    for kind in (NO_GENE, *story.gene_kinds):
        clones = [clone for clone in story.clones if clone.gene == kind]
        if clones:
            traces.append(_clones(story, kind, clones, places))
    alone = [t for t in story.trials if id(t) in places and not t.is_clone]
    return [*traces, _alone(story, [t for t in alone if t.cycle not in story.won], places)]


def _clones(
    story: Story, kind: str, clones: Sequence[Trial], places: Mapping[int, Place]
) -> dict[str, Any]:
    colour, symbol = look(story.gene_kinds, kind)
    columns = len({column for column, _ in places.values()})
    size = 11 if columns <= 30 else 7 if columns <= 110 else 5
    return {
        **_points(story, clones, places),
        "name": "unchanged" if kind == NO_GENE else safe(kind),
        "marker": {
            "color": colour,
            "symbol": symbol,
            "size": [size + 4 if clone.selected else size for clone in clones],
            "opacity": [0.35 if clone.failure else 1 for clone in clones],
            "line": {"color": colour, "width": 1},
        },
    }


def _alone(story: Story, trials: Sequence[Trial], places: Mapping[int, Place]) -> dict[str, Any]:
    """Return where the network trained with no clone beside it: at first, and in rests."""
    points = _points(story, trials, places)
    return {**points, "name": "the network alone", "marker": {"color": MAIN, "size": 8}}


def _points(story: Story, trials: Sequence[Trial], places: Mapping[int, Place]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [places[id(trial)][0] for trial in trials],
        "y": [places[id(trial)][1] for trial in trials],
        "text": [describe(story, trial) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
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
