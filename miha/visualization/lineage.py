"""The lineage: a tree of cycles, who was tried in each, who won, and by how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from miha.results.trials import RunView, TrainingView
from miha.visualization.scales import GainScale
from miha.visualization.theme import (
    GREY,
    MAIN,
    Axis,
    Trace,
    clones_of_kinds,
    colour,
    describe,
    figure,
    label,
    points,
    rings,
    symbol,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

Place = tuple[float, float]
"""Column and rank."""

Places = dict[int, Place]
"""Places of trainings, by their identity."""


def plot_lineage(result: Result) -> go.Figure:
    """Plot who was tried in each cycle, who won, and by how much.

    A column is a cycle, its clones one below the other: the selected one on top, then the others
    by fitness, which is not all that decides; under the mouse each says why it was selected or
    not. Lines go from each network to the clones made of it, the main line is blue; where the run
    went back to an older network, it passes above. A small blue point is a cycle in which the
    network trained alone.
    Below, by how much the winner's monitored value was better than that of its cycle's control.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    view = result.view
    places = _places(view)
    ranks = max([1, *map(len, view.cycles.values())])
    cycles = max([1, *(trial.cycle or 0 for trial in view.trials)])
    scale = GainScale.of(clone.gain for clone in view.winners.values())
    data = _edges(view, places)
    data += _nodes(view, places)
    data.append(_winner_gains(view, scale))
    return figure(
        data,
        title=title("Lineage"),
        height=min(900, 330 + 34 * ranks),
        xaxis=_cycle_axis(cycles),
        yaxis={
            "title": {"text": "selected, then by fitness"},
            "range": [ranks + 0.6, 0.2],
            "domain": [0.34, 1],
            "showgrid": False,
            "tickformat": "d",
        },
        yaxis2=_gain_axis(scale),
    )


def _cycle_axis(cycles: int) -> Axis:
    axis: Axis = {
        "title": {"text": "cycle"},
        "anchor": "y2",
        "showgrid": False,
        "range": [-0.4, cycles + 0.9],
    }
    if cycles <= 25:
        axis["dtick"] = 1
    return axis


def _gain_axis(scale: GainScale) -> Axis:
    places, texts = scale.ticks(gap=0.2)
    return {
        "title": {"text": "winner's gain"},
        "domain": [0, 0.24],
        "range": list(scale.bounds),
        "tickvals": places,
        "ticktext": texts,
        "zeroline": True,
        "zerolinecolor": GREY,
    }


def _places(view: RunView) -> Places:
    """Return column and rank of each training; the selected clone is the first."""
    places: Places = {}
    for cycle, clones in view.cycles.items():
        ranked = sorted(clones, key=_rank)
        for rank, clone in enumerate(ranked, start=1):
            places[id(clone)] = (cycle, rank)

    for trial in view.trials:
        if trial.is_clone or trial.phase == "final":
            continue
        # A winner that trains on stays where it is.
        winner = view.winners.get(trial.cycle)
        if winner is None:
            places[id(trial)] = (trial.cycle or 0, 1)
        else:
            places[id(trial)] = places[id(winner)]
    return places


def _rank(clone: TrainingView) -> tuple[bool, float]:
    """Return what clones are sorted by: the selected one, then the fittest."""
    fitness = clone.fitness
    if fitness is None or math.isnan(fitness):
        fitness = -math.inf
    return not clone.selected, -fitness


def _edges(view: RunView, places: Places) -> list[Trace]:
    """Return lines from each network to the clones made of it, the main line stronger."""
    is_crowded = len(view.clones) > 150
    faint = _lines(GREY, 0.5 if is_crowded else 1)
    faint["opacity"] = 0.35
    strong = _lines(MAIN, 3)
    for trial in view.trials:
        parent = view.parent(trial)
        is_drawn = trial.is_clone or _is_alone(view, trial)
        if not is_drawn or parent is None:
            continue
        lines = strong if trial.is_on_main_line else faint
        start = places[id(parent)]
        end = places[id(trial)]
        for column, rank in _corners(start, end):
            lines["x"].append(column)
            lines["y"].append(rank)
        # A gap between this line and the next one.
        lines["x"].append(None)
        lines["y"].append(None)
    return [faint, strong]


def _lines(colour: str, width: float) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [],
        "y": [],
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": colour, "width": width},
    }


def _is_alone(view: RunView, trial: TrainingView) -> bool:
    """Return whether the network trained without clones: at first, and in rests."""
    is_user_code = not trial.is_clone and trial.phase != "final"
    return is_user_code and trial.cycle not in view.winners


def _corners(start: Place, end: Place) -> list[Place]:
    """Return the corners of a line; one that passes over cycles does so above them."""
    if end[0] - start[0] < 2:
        return [start, end]
    leaves = (start[0] + 0.3, 0.5)
    arrives = (end[0] - 0.5, 0.5)
    return [start, leaves, arrives, end]


def _nodes(view: RunView, places: Places) -> list[Trace]:
    traces = []
    for kind, clones in clones_of_kinds(view).items():
        trace = _points(view, clones, places)
        trace["name"] = label(kind)
        trace["marker"] = _marker(clones, places)
        traces.append(trace)

    trials = [trial for trial in view.trials if _is_alone(view, trial)]
    alone = _points(view, trials, places)
    alone["name"] = "the network alone"
    alone["marker"] = {"color": MAIN, "size": 8, "symbol": "circle"}
    selected = [places[id(clone)] for clone in view.winners.values()]
    columns = [column for column, _ in selected]
    ranks = [rank for _, rank in selected]
    ring = rings(columns, ranks, size=_size(places) + 7)
    return [*traces, alone, ring]


def _marker(clones: list[TrainingView], places: Places) -> Trace:
    """Return the looks of the clones of one kind: failed ones are fainter."""
    kind = clones[0].gene
    return {
        "color": colour(kind),
        "symbol": symbol(kind),
        "size": _size(places),
        "opacity": [0.35 if clone.failure else 1 for clone in clones],
        "line": {"color": colour(kind), "width": 1},
    }


def _size(places: Places) -> int:
    """Return how large points are: those of neighbouring cycles must not touch."""
    columns = {column for column, _ in places.values()}
    if len(columns) > 110:
        return 5
    return 7 if len(columns) > 30 else 11


def _points(view: RunView, trials: list[TrainingView], places: Places) -> Trace:
    own = [places[id(trial)] for trial in trials]
    x = [column for column, _ in own]
    y = [rank for _, rank in own]
    text = [describe(view, trial) for trial in trials]
    return points(x, y, text)


def _winner_gains(view: RunView, scale: GainScale) -> Trace:
    """Return a bar for each winner: its gain over the control."""
    bars: Trace = {
        "type": "bar",
        "name": "winner's gain",
        "x": [],
        "y": [],
        "width": 0.6,
        "text": [],
        "hovertemplate": "%{text}<extra></extra>",
        "textposition": "none",
        "marker": {"color": []},
        "yaxis": "y2",
        "showlegend": False,
    }
    for clone in view.winners.values():
        if clone.gain is not None:
            bars["x"].append(clone.cycle)
            bars["y"].append(scale.place(clone.gain))
            bars["text"].append(describe(view, clone))
            bars["marker"]["color"].append(colour(clone.gene))
    return bars
