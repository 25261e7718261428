"""The schedule: what the main line's hyperparameters were, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miha.results.story import Story
from miha.results.trials import is_number
from miha.visualization.theme import COLOURS, GREY, MAIN, figure, log_axis, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.results.result import Result

MOST_LANES = 24
"""Hyperparameters in words that are shown; beyond, those that never changed are left out."""

MOST_STEPS = 8
"""Panels of hyperparameters in numbers that changed."""

LETTERS = 120
"""Of a bar that is as long as the whole run."""

STEP, LANE = 130, 34
"""Pixels of a panel of steps, and of a swim lane."""


@dataclass(frozen=True)
class Span:
    """A stretch of the main line on which a hyperparameter was the same."""

    start: int
    end: int
    value: Any


def plot_schedule(result: Result) -> go.Figure:
    """Plot each hyperparameter of the main line over its epochs.

    Numbers that changed are steps; words (the optimizer, activations) are swim lanes, and so are
    numbers that never changed.

    Args:
        result: A run, finished or not.

    Returns:
        A Plotly figure.

    Raises:
        MissingPackageError: Plotly is not installed.
    """
    story = Story.of(result)
    spans = {name: _spans(story, name) for name in story.gene_names}
    spans = {name: found for name, found in spans.items() if found}
    numeric = [name for name, found in spans.items() if _is_stepped(found)][:MOST_STEPS]
    lanes = _some({n: found for n, found in spans.items() if not _is_stepped(found)})
    heights = [STEP] * len(numeric) + ([LANE * len(lanes)] if lanes else [])
    domains = _domains(heights)
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    for row, name in enumerate(numeric, start=1):
        data.append(_steps(name, spans[name], row))
        axes[f"yaxis{row}"] = _step_axis(name, spans[name], domains[row - 1])
    if lanes:
        row = len(numeric) + 1
        data += _bars({name: spans[name] for name in lanes}, row)
        axes[f"yaxis{row}"] = _lane_axis(lanes, domains[-1])
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


def _spans(story: Story, name: str) -> list[Span]:
    """Return the stretches of one hyperparameter; where it is not there, there is none."""
    spans: list[Span] = []
    for trial in story.main_line:
        value = trial.genes.get(name)
        if value is None or not trial.logs:
            continue
        last = spans[-1] if spans else None
        if last is not None and last.end == trial.start and str(last.value) == str(value):
            spans[-1] = Span(last.start, trial.end, value)
        else:
            spans.append(Span(trial.start, trial.end, value))
    return spans


def _is_stepped(spans: Sequence[Span]) -> bool:
    """Tell whether a hyperparameter is a number that changed."""
    return all(is_number(span.value) for span in spans) and len(spans) > 1


def _some(spans: dict[str, list[Span]]) -> list[str]:
    """Return the lanes to show, those that changed first, and alone where there are too many."""
    changing = [name for name, found in spans.items() if len(found) > 1]
    others = [name for name in spans if name not in changing]
    return [*changing, *(others if len(spans) <= MOST_LANES else [])][:MOST_LANES]


def _domains(heights: Sequence[int]) -> list[list[float]]:
    """Return where each panel lies, from the top, with room between."""
    room = 30
    total = sum(heights) + room * max(len(heights) - 1, 0) or 1
    domains, top = [], 1.0
    for height in heights:
        domains.append([max(top - height / total, 0), top])
        top -= (height + room) / total
    return domains


def _steps(name: str, spans: Sequence[Span], row: int) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[Any] = []
    for before, span in zip([None, *spans], spans, strict=False):
        if before is not None and before.end < span.start:  # Meanwhile it was not there.
            x, y = [*x, None], [*y, None]
        x, y = [*x, span.start, span.end], [*y, span.value, span.value]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "yaxis": f"y{row}",
        "line": {"shape": "hv", "color": MAIN, "width": 2.5},
        "hovertemplate": f"{safe(name)} %{{y}}<br>epoch %{{x}}<extra></extra>",
    }


def _step_axis(name: str, spans: Sequence[Span], domain: list[float]) -> dict[str, Any]:
    values = [span.value for span in spans]
    is_log = min(values) > 0 and max(values) / min(values) >= 4
    few = sorted(set(values))
    ticks: dict[str, Any] = log_axis(0.8 * few[0], 1.25 * few[-1]) if is_log else {}
    if len(few) <= 4:
        ticks |= {"tickvals": few, "ticktext": [f"{value:g}" for value in few]}
    return {"title": {"text": safe(name, 24), "font": {"size": 12}}, "domain": domain, **ticks}


def _bars(spans: dict[str, list[Span]], row: int) -> list[dict[str, Any]]:
    """Return a trace of bars for each value, so that a value has one colour in all lanes."""
    values = list(dict.fromkeys(_text(span) for found in spans.values() for span in found))
    lanes = list(spans)
    whole = max(span.end for found in spans.values() for span in found)
    traces = []
    for index, value in enumerate(values):
        found = [
            (lanes.index(name), span)
            for name in lanes
            for span in spans[name]
            if _text(span) == value
        ]
        is_word = any(not is_number(span.value) for _, span in found)
        colour = COLOURS[index % len(COLOURS)] if index < 2 * len(COLOURS) and is_word else GREY
        traces.append(_bar(value, found, lanes, colour, row, whole))
    return traces


def _bar(
    value: str,
    found: Sequence[tuple[int, Span]],
    lanes: Sequence[str],
    colour: str,
    row: int,
    whole: int,
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": safe(value),
        "y": [lane for lane, _ in found],
        "base": [span.start for _, span in found],
        "x": [span.end - span.start for _, span in found],
        "text": [safe(value, 30) if _fits(value, span, whole) else "" for _, span in found],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "constraintext": "none",
        "insidetextfont": {"color": "#111111"},
        "customdata": [
            f"<b>{safe(lanes[lane])}</b>: {safe(value)}<br>epochs {span.start + 1} to {span.end}"
            for lane, span in found
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"color": colour, "line": {"color": GREY, "width": 1}},
        "width": 0.8,
        "yaxis": f"y{row}",
    }


def _text(span: Span) -> str:
    return f"{span.value:g}" if is_number(span.value) else str(span.value)


def _fits(text: str, span: Span, whole: int) -> bool:
    """Tell whether a bar is long enough for what is written on it."""
    return LETTERS * (span.end - span.start) / whole > min(len(text), 30) + 1


def _lane_axis(lanes: Sequence[str], domain: list[float]) -> dict[str, Any]:
    return {
        "domain": domain,
        "tickvals": list(range(len(lanes))),
        "ticktext": [safe(name, 28) for name in lanes],
        "range": [len(lanes) - 0.4, -0.6],
        "showgrid": False,
        "ticks": "",
    }
