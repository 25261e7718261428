"""The schedule: what the main line's hyperparameters were, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from miha.results.trials import RunView, TrainingView, is_number
from miha.visualization.theme import (
    COLOURS,
    GREY,
    MAIN,
    OUTLINE,
    Axis,
    Trace,
    figure,
    log_axis,
    safe,
    title,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

MOST_LANES = 24
"""Hyperparameters in words that are shown; beyond, those that never changed are left out."""

MOST_STEPS = 8
"""Panels of hyperparameters in numbers that changed."""

LETTERS = 120
"""How many letters a bar has room for that is as long as the whole run."""

# Heights in pixels: of a panel of steps, of a swim lane, and of the gap between panels.
STEP = 130
LANE = 34
GAP = 30


@dataclass(frozen=True)
class Span:
    """Epochs of the main line in which a hyperparameter was the same."""

    start: int
    end: int
    value: Any

    @property
    def length(self) -> int:
        """The number of epochs."""
        return self.end - self.start

    @property
    def text(self) -> str:
        """The value as text."""
        return f"{self.value:g}" if is_number(self.value) else str(self.value)

    def continues(self, epoch: int, value: Any) -> bool:
        """Return whether an epoch follows that has the same value."""
        return self.end == epoch and str(self.value) == str(value)


Spans = dict[str, list[Span]]
"""The spans of each hyperparameter, by its name."""


def plot_schedule(result: Result) -> go.Figure:
    """Plot each hyperparameter of the main line over its epochs.

    Numbers that changed are steps, and the learning rate falls where it was annealed. Words (the
    optimizer, activations) are swim lanes, and so are numbers that never changed.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    stepped, lanes = _spans_to_show(result.view)
    heights = [STEP] * len(stepped)
    if lanes:
        heights.append(LANE * len(lanes))
    domains = _domains(heights)

    panels: list[tuple[list[Trace], Axis]] = []
    for name, spans in stepped.items():
        steps = _steps(name, spans)
        panels.append(([steps], _step_axis(name, spans)))
    if lanes:
        panels.append((_bars(lanes), _lane_axis(lanes)))

    data: list[Trace] = []
    axes: dict[str, Axis] = {}
    for row, (traces, axis) in enumerate(panels, start=1):
        axis["domain"] = domains[row - 1]
        axes[f"yaxis{row}"] = axis
        for trace in traces:
            trace["yaxis"] = f"y{row}"
            data.append(trace)
    return figure(
        data,
        title=title("Schedule of the main line"),
        height=150 + sum(heights) + 30 * len(heights),
        barmode="overlay",
        showlegend=False,
        xaxis={
            "title": {"text": "epochs of the main line"},
            "anchor": "free",
            "position": 0,
            "rangemode": "tozero",
        },
        **axes,
    )


def _spans_to_show(view: RunView) -> tuple[Spans, Spans]:
    """Return the spans of the numbers that changed, and those of the swim lanes."""
    stepped: Spans = {}
    changed: Spans = {}
    constant: Spans = {}
    for name in view.gene_names:
        spans = _spans(view, name)
        has_changed = len(spans) > 1
        if has_changed and all(is_number(span.value) for span in spans):
            stepped[name] = spans
        elif has_changed:
            changed[name] = spans
        elif spans:
            constant[name] = spans

    # Lanes that changed come first: they are what a reader looks for.
    lanes = changed
    if len(changed) + len(constant) <= MOST_LANES:
        lanes = changed | constant
    return _first(stepped, MOST_STEPS), _first(lanes, MOST_LANES)


def _first(spans: Spans, count: int) -> Spans:
    return dict(list(spans.items())[:count])


def _spans(view: RunView, name: str) -> list[Span]:
    """Return the spans of one hyperparameter; epochs without it have none."""
    spans: list[Span] = []
    for trial in view.main_line:
        value = trial.genes.get(name)
        if value is None or not trial.record.epochs:
            continue
        for span in _spans_of(trial, name, value):
            start = span.start
            if spans and spans[-1].continues(start, span.value):
                start = spans.pop().start
            spans.append(Span(start, span.end, span.value))
    return spans


def _spans_of(trial: TrainingView, name: str, value: Any) -> list[Span]:
    """Return the spans of a hyperparameter in one training: its rate falls where it anneals."""
    if name != "learning_rate" or not trial.record.rates:
        return [Span(trial.start, trial.end, value)]
    epochs = range(trial.start, trial.end)
    # A target may end a training before its last rate.
    return [
        Span(epoch, epoch + 1, value * rate)
        for epoch, rate in zip(epochs, trial.record.rates, strict=False)
    ]


def _domains(heights: Sequence[int]) -> list[list[float]]:
    """Return where each panel lies, as shares of the figure's height, from the top."""
    gaps = GAP * max(len(heights) - 1, 0)
    total = sum(heights) + gaps or 1
    domains = []
    top = 1.0
    for height in heights:
        bottom = max(top - height / total, 0)
        domains.append([bottom, top])
        top -= (height + GAP) / total
    return domains


def _steps(name: str, spans: list[Span]) -> Trace:
    """Return a line of steps, with a gap where there was no such hyperparameter."""
    x: list[int | None] = []
    y: list[Any] = []
    for span in spans:
        if x and x[-1] != span.start:
            x.append(None)
            y.append(None)
        x += [span.start, span.end]
        y += [span.value, span.value]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"shape": "hv", "color": MAIN, "width": 2.5},
        "hovertemplate": f"{safe(name)} %{{y}}<br>epoch %{{x}}<extra></extra>",
    }


def _step_axis(name: str, spans: list[Span]) -> Axis:
    values = sorted({span.value for span in spans})
    low = values[0]
    high = values[-1]
    axis: Axis = {
        "title": {
            "text": safe(name, 24),
            "font": {"size": 12},
        },
    }
    if low > 0 and high / low >= 4:
        axis |= log_axis(0.8 * low, 1.25 * high)
    if len(values) <= 4:
        axis["tickvals"] = values
        axis["ticktext"] = [f"{value:g}" for value in values]
    return axis


def _bars(lanes: Spans) -> list[Trace]:
    """Return a trace of bars for each value, so that a value has one colour in all lanes."""
    traces: dict[str, Trace] = {}
    epochs = max(spans[-1].end for spans in lanes.values())
    # Numbers are grey, so that words stand out.
    all_spans = chain.from_iterable(lanes.values())
    words = {span.text for span in all_spans if not is_number(span.value)}
    for lane, (name, spans) in enumerate(lanes.items()):
        for span in spans:
            value = span.text
            index = len(traces)
            # Each colour serves two values at most.
            has_colour = value in words and index < 2 * len(COLOURS)
            colour = COLOURS[index % len(COLOURS)] if has_colour else GREY
            trace = traces.setdefault(value, _no_bars(value, colour))
            trace["y"].append(lane)
            trace["base"].append(span.start)
            trace["x"].append(span.length)
            trace["text"].append(_bar_text(span, epochs))
            about = f"<b>{safe(name)}</b>: {safe(value)}"
            trace["customdata"].append(f"{about}<br>epochs {span.start + 1} to {span.end}")
    return list(traces.values())


def _no_bars(value: str, colour: str) -> Trace:
    """Return a trace for the bars of a value, without bars."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": safe(value),
        "y": [],
        "base": [],
        "x": [],
        "text": [],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "constraintext": "none",
        "insidetextfont": {"color": "#111111"},
        "customdata": [],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"color": colour, "line": OUTLINE},
        "width": 0.8,
    }


def _bar_text(span: Span, epochs: int) -> str:
    """Return the text of a bar; none where the bar is too short for it."""
    letters = LETTERS * span.length / epochs
    is_long_enough = letters > min(len(span.text), 30) + 1
    return safe(span.text, 30) if is_long_enough else ""


def _lane_axis(lanes: Spans) -> Axis:
    return {
        "tickvals": list(range(len(lanes))),
        "ticktext": [safe(name, 28) for name in lanes],
        "range": [len(lanes) - 0.4, -0.6],
        "showgrid": False,
        "ticks": "",
    }
