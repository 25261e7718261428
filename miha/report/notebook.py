"""A result in a notebook: its summary, and the winner of each cycle."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from miha.errors import MihaError
from miha.results.story import Story
from miha.results.summary import summarize
from miha.results.trials import Trial

if TYPE_CHECKING:
    from miha.results.result import Result

MOST_ROWS = 30
"""Cycles that are shown, the last ones."""


def as_html(result: Result) -> str:
    """Return a result as HTML without scripts; all that comes from the run is escaped."""
    story = Story.of(result)
    try:
        summary = summarize(result)
    except MihaError as error:  # Its folder has been moved or deleted since.
        summary = [str(error)]
    parts = [f"<strong>{_safe(result.run_dir.absolute().name)}</strong>"]
    parts += [f"<p>{_safe(text)}</p>" for text in summary]
    winners = [clone for clone in story.clones if clone.selected]
    if winners:
        parts.append(_table(story, winners[-MOST_ROWS:]))
    if len(winners) > MOST_ROWS:
        parts.append(f"<p>The last {MOST_ROWS} of {len(winners)} cycles are shown.</p>")
    return f"<div>{''.join(parts)}</div>"


def _table(story: Story, winners: list[Trial]) -> str:
    names = ("cycle", "winner", "mutation", story.monitor, "fitness", "gain")
    head = "".join(f"<th>{_safe(name)}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(_cells(winner))}</tr>" for winner in winners)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(winner: Trial) -> list[str]:
    values = (winner.value, winner.fitness, winner.gain)
    numbers = ["–" if value is None else f"{value:.4g}" for value in values]
    words = [winner.cycle, winner.clone, winner.change, *numbers]
    return [f"<td>{_safe(word)}</td>" for word in words]


def _safe(text: Any) -> str:
    return html.escape(str(text))
