"""The best so far: how good the best network was after so many epochs, and after so long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from miha.errors import MihaError
from miha.records import Mode, is_better
from miha.results.trials import RunView, TrainingView, as_number
from miha.visualization.history import choose_metrics, reads_better_as_log
from miha.visualization.theme import (
    COLOURS,
    MAIN,
    SYMBOLS_OF_RUNS,
    Axis,
    Trace,
    bounds,
    describe,
    figure,
    log_axis,
    safe,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

LARGER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "iou", "r2", "score", "similarity")
"""Parts of names of values that are better large; those of Keras' metrics are among them."""


def plot_best(
    result: Result | Sequence[Result],
    metric: str | None = None,
    mode: Mode | None = None,
) -> go.Figure:
    """Plot the best value so far over all trained epochs, and over the seconds of the run.

    All epochs count, those of clones that lost among them, and the value is that of a network
    that the run has: at the end of a training. Several runs are lines of one figure, so that
    one sees which got there with fewer epochs, and which sooner.

    Args:
        result: A run, finished or not, or several.
        metric: Name of a logged value; by default the monitored one of the first run.
        mode: Whether it is better small or large; by default as the run monitors it, or by its
            name.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: No such value was logged, or no run is given.
        MissingPackageError: Plotly is not installed.
    """
    results = list(result) if isinstance(result, Sequence) else [result]
    if not results:
        raise MihaError("There must be a run to plot. Received: none. Give one, or several.")
    views = [one.view for one in results]
    name = metric or views[0].monitor
    if metric is not None:
        for view in views:
            choose_metrics(view, [metric])
    direction = mode or _mode(views[0], name)
    names = names_of(results)
    data: list[Trace] = []
    values: list[float] = []
    for number, view in enumerate(views):
        steps = best_so_far(view, name, direction)
        values += [value for _, _, value, _ in steps]
        looks = _looks(names[number], number, is_alone=len(views) == 1)
        data += _lines(view, steps, looks)
    axis = _value_axis(name, values)
    return figure(
        data,
        title=title(f"Best {safe(name, 40)} so far{_why_not_taken(results, values, name)}"),
        height=640,
        showlegend=len(views) > 1,
        xaxis=_count_axis("epochs trained, clones' among them", "y"),
        yaxis=axis | {"domain": [0.6, 1]},
        xaxis2=_count_axis("seconds of the run", "y2"),
        yaxis2=axis | {"domain": [0, 0.42]},
    )


def _why_not_taken(results: Sequence[Result], values: Sequence[float], name: str) -> str:
    """Return why the network to take is not the one with the best value, in a few words."""
    if len(results) > 1 or not values:
        return ""
    [result] = results
    judge = result.judge
    taken = result.best
    if taken.has_seen_validation:
        return "<br><sub>the network to take was trained on the validation data since</sub>"
    value = as_number(taken.epochs[-1].logs.get(name)) if taken.epochs else math.nan
    if not math.isfinite(value) or value == values[-1]:
        return ""
    why = "the latest of those within noise of the best"
    if judge.name != name:
        why = f"the best in {safe(judge.name, 30)}"
    return f"<br><sub>the network to take, {why}, has {value:.4g}</sub>"


Step = tuple[int, float, float, TrainingView]
"""Epochs and seconds until a training had ended, the best value then, and that training."""


def best_so_far(view: RunView, name: str, mode: Mode) -> list[Step]:
    """Return the best value after each training."""
    steps: list[Step] = []
    best = math.nan
    epochs = 0
    seconds = 0.0
    for trial in view.trials:
        epochs += len(trial.record.epochs)
        seconds += trial.record.wall_seconds
        value = last_value(view, trial, name)
        if is_better(value, best, mode) and not trial.record.has_seen_validation:
            best = value
        if math.isfinite(best):
            steps.append((epochs, seconds, best, trial))
    return steps


def last_value(view: RunView, trial: TrainingView, name: str) -> float:
    """Return a logged value of the network that a training left; NaN where it left none."""
    if trial.archive is None:
        return math.nan
    if name == view.monitor:
        return trial.value
    curve = trial.curve(name)
    # A diverged network has no value, whatever was logged.
    return curve[-1] if curve and math.isfinite(trial.value) else math.nan


def names_of(results: Sequence[Result]) -> list[str]:
    """Return what to call each run: its folder, with as much of its path as tells them apart."""
    paths = [result.run_dir.absolute() for result in results]
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]


def _mode(view: RunView, name: str) -> Mode:
    """Return how a value is better."""
    if name == view.monitor:
        return view.mode
    is_large = any(part in name.lower() for part in LARGER_IS_BETTER)
    return "max" if is_large else "min"


def _looks(name: str, number: int, is_alone: bool) -> Trace:
    """Return name and looks of a run's lines."""
    colour = MAIN if is_alone else COLOURS[number % len(COLOURS)]
    symbol = SYMBOLS_OF_RUNS[number % len(SYMBOLS_OF_RUNS)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(name, 60),
        "legendgroup": str(number),
        "line": {"color": colour, "width": 2.5, "shape": "hv"},
        "marker": {"symbol": symbol, "size": 7, "color": colour},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _lines(view: RunView, steps: Sequence[Step], looks: Trace) -> list[Trace]:
    """Return a line over epochs and one over seconds, with a point at each better network."""
    kept = _corners(steps)
    text = [
        f"best {value:.4g}<br>after {epochs} epochs, {seconds:.3g} s<br>{describe(view, trial)}"
        for epochs, seconds, value, trial in kept
    ]
    both: list[Trace] = []
    for place, axis in enumerate(("", "2")):
        both.append(
            {
                **looks,
                "x": [step[place] for step in kept],
                "y": [step[2] for step in kept],
                "text": text,
                "xaxis": f"x{axis}",
                "yaxis": f"y{axis}",
                "showlegend": not axis,
            }
        )
    return both


def _corners(steps: Sequence[Step]) -> list[Step]:
    """Return the steps at which the value got better, and the last one."""
    kept = [*steps[:1]]
    for before, step in pairwise(steps):
        if step[2] != before[2]:
            kept.append(step)
    if len(steps) > 1:
        kept.append(steps[-1])
    return kept


def _count_axis(text: str, anchor: str) -> Axis:
    return {"title": {"text": text}, "anchor": anchor, "rangemode": "tozero"}


def _value_axis(name: str, values: Sequence[float]) -> Axis:
    axis: Axis = {"title": {"text": safe(name, 30)}}
    if not values:
        return axis
    low, high = bounds(values, 0)
    if min(values) > 0 and reads_better_as_log(values):
        return axis | log_axis(max(low, 0.9 * min(values)), high)
    return axis | {"range": [low, high]}
