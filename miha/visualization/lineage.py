"""The lineage: a tree of cycles, who was tried in each, who won, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miha.results.story import Story
from miha.results.trials import NO_GENE, Trial
from miha.visualization.scales import GainScale
from miha.visualization.theme import GREY, MAIN, describe, figure, look, points, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

Place = tuple[float, float]
"""Column and rank."""


def plot_lineage(result: Result) -> go.Figure:
    """Plot who was tried in each cycle, who won, and by how much.

    A column is a cycle, its clones one below the other, the fittest on top. Lines go from each
    network to the clones made of it, the main line is blue; where the run went back to an older
    network, it passes above. A small blue point is a cycle in which the network trained alone.
    Below, by how much the winner was fitter than the unchanged clone of its cycle.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    places = _places(story)
    ranks = max((rank for _, rank in places.values()), default=1)
    cycles = max([1, *(trial.cycle or 0 for trial in story.trials)])
    scale = GainScale.of(clone.gain for clone in story.won.values())
    gain_places, gain_texts = scale.ticks(gap=0.2)

    cycle_axis = {"title": {"text": "cycle"}, "anchor": "y2", "showgrid": False}
    if cycles <= 25:
        cycle_axis["dtick"] = 1
    return figure(
        [*_edges(story, places), *_nodes(story, places), _winner_gains(story, scale)],
        title=title("Lineage"),
        height=min(900, 330 + 34 * int(ranks)),
        xaxis={**cycle_axis, "range": [-0.4, cycles + 0.9]},
        yaxis={
            "title": {"text": "rank in its cycle"},
            "range": [ranks + 0.6, 0.2],
            "domain": [0.34, 1],
            "showgrid": False,
            "tickformat": "d",
        },
        yaxis2={
            "title": {"text": "winner's gain"},
            "domain": [0, 0.24],
            "range": list(scale.bounds),
            "tickvals": gain_places,
            "ticktext": gain_texts,
            "zeroline": True,
            "zerolinecolor": GREY,
        },
    )


def _places(story: Story) -> dict[int, Place]:
    """Return column and rank of each training, by its identity; the selected one is the first."""
    places: dict[int, Place] = {}
    for cycle, clones in story.cycles.items():
        ranked = sorted(clones, key=lambda clone: (not clone.selected, -_fitness(clone)))
        for rank, clone in enumerate(ranked, start=1):
            places[id(clone)] = (cycle, rank)

    for trial in story.trials:
        if trial.is_clone or trial.phase == "final":
            continue
        # A winner that trains on stays where it is.
        winner = story.won.get(trial.cycle)
        stays = (trial.cycle or 0, 1)
        places[id(trial)] = stays if winner is None else places[id(winner)]
    return places


def _fitness(clone: Trial) -> float:
    fitness = clone.fitness
    return -math.inf if fitness is None or math.isnan(fitness) else fitness


def _edges(story: Story, places: Mapping[int, Place]) -> list[dict[str, Any]]:
    """Return lines from each network to the clones made of it, the main line stronger."""
    faint: list[list[Place]] = []
    strong: list[list[Place]] = []
    for trial in story.trials:
        parent = story.parent(trial)
        is_drawn = trial.is_clone or _is_alone(story, trial)
        if is_drawn and parent is not None:
            lines = strong if trial.is_on_main_line else faint
            lines.append(_corners(places[id(parent)], places[id(trial)]))

    width = 1 if len(story.clones) <= 150 else 0.5
    return [
        {**_lines(faint), "line": {"color": GREY, "width": width}, "opacity": 0.35},
        {**_lines(strong), "line": {"color": MAIN, "width": 3}},
    ]


def _is_alone(story: Story, trial: Trial) -> bool:
    """Return whether the network trained without clones: at first, and in rests."""
    is_own = not trial.is_clone and trial.phase != "final"
    return is_own and trial.cycle not in story.won


def _corners(start: Place, end: Place) -> list[Place]:
    """Return the corners of a line; one that passes over cycles does so above them."""
    if end[0] - start[0] < 2:
        return [start, end]
    return [start, (start[0] + 0.3, 0.5), (end[0] - 0.5, 0.5), end]


def _lines(lines: Sequence[Sequence[Place]]) -> dict[str, Any]:
    """Return one trace of many lines, with a gap after each."""
    x: list[float | None] = []
    y: list[float | None] = []
    for corners in lines:
        for column, rank in corners:
            x.append(column)
            y.append(rank)
        x.append(None)
        y.append(None)
    style = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return {**style, "x": x, "y": y}


def _nodes(story: Story, places: Mapping[int, Place]) -> list[dict[str, Any]]:
    traces = []
    for kind in (NO_GENE, *story.gene_kinds):
        clones = [clone for clone in story.clones if clone.gene == kind]
        if clones:
            traces.append(_clones(story, kind, clones, places))
    trials = [trial for trial in story.trials if _is_alone(story, trial)]
    alone = _points(story, trials, places)
    alone |= {"name": "the network alone", "marker": {"color": MAIN, "size": 8}}
    return [*traces, alone]


def _clones(
    story: Story, kind: str, clones: Sequence[Trial], places: Mapping[int, Place]
) -> dict[str, Any]:
    colour, symbol = look(story.gene_kinds, kind)
    columns = len({column for column, _ in places.values()})
    size = 11
    if columns > 30:
        size = 7
    if columns > 110:
        size = 5
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


def _points(story: Story, trials: Sequence[Trial], places: Mapping[int, Place]) -> dict[str, Any]:
    return points(
        [places[id(trial)][0] for trial in trials],
        [places[id(trial)][1] for trial in trials],
        [describe(story, trial) for trial in trials],
    )


def _winner_gains(story: Story, scale: GainScale) -> dict[str, Any]:
    """Return a bar for each winner: its gain over the unchanged clone."""
    winners = [clone for clone in story.won.values() if clone.gain is not None]
    return {
        "type": "bar",
        "name": "winner's gain",
        "x": [clone.cycle for clone in winners],
        "y": [scale.place(clone.gain or 0.0) for clone in winners],
        "width": 0.6,
        "text": [describe(story, clone) for clone in winners],
        "hovertemplate": "%{text}<extra></extra>",
        "textposition": "none",
        "marker": {"color": [look(story.gene_kinds, clone.gene)[0] for clone in winners]},
        "yaxis": "y2",
        "showlegend": False,
    }
