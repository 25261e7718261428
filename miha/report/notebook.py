"""A result in a notebook: its summary, and the winner of each cycle."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miha.errors import MihaError
from miha.results.summary import summarize
from miha.results.trials import RunView, TrainingView
from miha.results.verdict import make_verdict

if TYPE_CHECKING:
    from miha.results.result import Result

MOST_ROWS = 30
"""Cycles that are shown, the last ones."""


def as_html(result: Result) -> str:
    """Return a result as HTML without scripts; all that comes from the run is escaped."""
    view = RunView.of(result)
    try:
        summary = [*make_verdict(result, view).sentences, *summarize(result, view)]
    # The folder may have been moved or deleted since.
    except MihaError as error:
        summary = [str(error)]

    name = result.run_dir.absolute().name
    parts = [_element("strong", name)]
    parts += [_element("p", text) for text in summary]
    winners = [clone for clone in view.clones if clone.selected]
    if winners:
        parts.append(_table(view, winners[-MOST_ROWS:]))
    if len(winners) > MOST_ROWS:
        parts.append(f"<p>The last {MOST_ROWS} of {len(winners)} cycles are shown.</p>")
    return f"<div>{''.join(parts)}</div>"


def _table(view: RunView, winners: list[TrainingView]) -> str:
    names = ["cycle", "winner", "mutation", view.monitor, "gain"]
    names += ["fitness"] * view.shows_fitness
    names.append("reason")
    head = _row("th", names)
    rows = [_row("td", _cells(view, winner)) for winner in winners]
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _cells(view: RunView, winner: TrainingView) -> list[Any]:
    cells: list[Any] = [winner.cycle, winner.clone, winner.change]
    numbers = [winner.value, winner.gain]
    numbers += [winner.fitness] * view.shows_fitness
    cells += ["–" if number is None else f"{number:.4g}" for number in numbers]
    return [*cells, winner.reason]


def _row(tag: str, values: Iterable[Any]) -> str:
    cells = [_element(tag, value) for value in values]
    return f"<tr>{''.join(cells)}</tr>"


def _element(tag: str, text: Any) -> str:
    return f"<{tag}>{html.escape(str(text))}</{tag}>"
