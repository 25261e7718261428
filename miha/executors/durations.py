"""How long a clone will take, by those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from miha.records import Task

Kind = tuple[int, str]
"""Batch size and optimizer: what the time of an epoch depends on most."""


def expected_seconds(trainings: Iterable[Mapping[str, Any]]) -> Callable[[Task], float]:
    """Return what estimates the seconds of a training; without a measurement, by its steps.

    Args:
        trainings: Entries of the journal.
    """
    fastest = _fastest_epochs(trainings)

    def expected(task: Task) -> float:
        return task.epochs * _seconds(fastest, (task.genome.batch_size, task.genome.optimizer))

    return expected


def _seconds(fastest: Mapping[Kind, float], kind: Kind) -> float:
    """Return the seconds of an epoch: as measured, else those of the nearest kind, scaled."""
    size = kind[0]
    nearest = min(fastest, key=lambda other: _distance(other, kind), default=None)
    return 1 / size if nearest is None else fastest[nearest] * nearest[0] / size


def _distance(other: Kind, kind: Kind) -> tuple[float, bool]:
    ratio = other[0] / kind[0]
    return max(ratio, 1 / ratio), other[1] != kind[1]


def _fastest_epochs(trainings: Iterable[Mapping[str, Any]]) -> dict[Kind, float]:
    """Return the fastest epoch of each kind: the first ones hold a compilation."""
    fastest: dict[Kind, float] = {}
    for entry in trainings:
        kind = entry["genome"]["batch_size"], entry["genome"]["optimizer"]
        for epoch in entry["epochs"]:
            fastest[kind] = min(fastest.get(kind, epoch["seconds"]), epoch["seconds"])
    return fastest
