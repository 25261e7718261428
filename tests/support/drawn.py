"""What is drawn in a figure, and runs that are changed to be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from miha.records import Genome, TrainingRecord
from miha.results.result import Result
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook
from miha.storage.past import Past


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


def edited(
    result: Result,
    edit: Callable[[int, TrainingRecord], dict[str, Any]],
) -> Result:
    """Return a run whose trainings have other records; the run itself stays as it is.

    Args:
        result: The run.
        edit: Returns what is new in a record, from its number and the record.
    """
    log = result.log.copy()
    log.trainings = Past(r.replace(**edit(n, r)) for n, r in enumerate(log.trainings))
    return replace(result, log=log)


def with_genes(
    result: Result,
    genes: Callable[[int, TrainingRecord], dict[str, Any]],
) -> Result:
    """Return a run whose genomes have more hyperparameters, or others."""

    def edit(number: int, record: TrainingRecord) -> dict[str, Any]:
        changed = record.genome.to_dict() | genes(number, record)
        return {"genome": Genome.from_dict(changed)}

    return edited(result, edit)


def rewritten(
    result: Result,
    edit: Callable[[dict[str, Any]], dict[str, Any]],
) -> Result:
    """Return a run as if its journal had other entries, as earlier versions wrote them.

    Args:
        result: The run.
        edit: Returns what is new in the entry of a training, from the entry.
    """
    entries = Journal(result.run_dir / "journal.jsonl").read()
    changed = [e | edit(e) if e["event"] == "training" else e for e in entries]
    return replace(result, log=Logbook.of(changed))
