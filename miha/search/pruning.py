"""Pruning: a clone that is clearly behind the control of the same epoch stops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite

from miha.records import Limits, Task, TrainingRecord
from miha.search.plan import Plan
from miha.search.selection import WINDOW, noise

NOISES = 3.0
"""A clone is clearly behind where the gap is at least so many times the noise of a value."""

SHARE = 0.1
"""And where the gap is at least this share of the control's value."""


def limits(
    control: TrainingRecord | None,
    past: Sequence[float],
    plan: Plan,
) -> Limits | None:
    """Return where the mutants of a population are pruned.

    Args:
        control: The unchanged clone, trained already.
        past: The network's monitored values before this cycle.
        plan: What the run does.

    Returns:
        The worst value that a mutant may have after each epoch; None where the control has
        failed, which says nothing of the mutants.
    """
    if control is None or not isfinite(control.value):
        return None
    values = control.values(plan.monitor)
    recent = [*past, *values][-WINDOW:]
    spread = NOISES * noise(recent)
    # Worse is larger for a loss, smaller for an accuracy.
    sign = 1 if plan.mode == "min" else -1
    worst: list[float] = []
    for value in values:
        gap = max(spread, SHARE * abs(value))
        worst.append(value + sign * gap)
    return Limits(plan.monitor, plan.mode, tuple(worst))


def limited(
    tasks: Iterable[Task],
    limits: Limits | None,
) -> list[Task]:
    """Return trainings with limits, those of restarts without: they are behind at first."""
    return [task if task.change.is_restart else replace(task, limits=limits) for task in tasks]


def saved_epochs(
    clones: Iterable[TrainingRecord],
    n: int,
) -> int:
    """Return the epochs that pruned clones have left to the winner.

    Args:
        clones: A population.
        n: Epochs of a clone that is not pruned.
    """
    return sum(n - len(clone.epochs) for clone in clones if clone.pruned)
