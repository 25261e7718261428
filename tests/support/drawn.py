"""What is drawn in a figure, and runs that are changed to be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from miha.results.result import Result


def traces(figure: Any, name: str | None = None) -> list[dict[str, Any]]:
    """Return the traces of a figure, or those of one name."""
    found = json.loads(figure.to_json())["data"]
    return [trace for trace in found if name in (None, trace.get("name"))]


def layout(figure: Any) -> dict[str, Any]:
    """Return the layout of a figure."""
    return json.loads(figure.to_json())["layout"]


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a figure's JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def edited(result: Result, edit: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Result:
    """Return a run whose trainings have other entries; the run itself stays as it is.

    Args:
        result: The run.
        edit: Returns what is new in an entry, from its number and the entry.
    """
    log = result._log.copy()
    log.trainings = [{**entry, **edit(n, entry)} for n, entry in enumerate(log.trainings)]
    return replace(result, _log=log)


def with_genes(result: Result, genes: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Result:
    """Return a run whose genomes have more hyperparameters, or others."""
    return edited(result, lambda n, entry: {"genome": {**entry["genome"], **genes(n, entry)}})
