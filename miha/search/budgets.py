"""What a run may cost, and when it is good enough: it can end before its last cycle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from numbers import Real
from typing import Any

from miha.errors import ArgumentError
from miha.records import LongestSchedule, Schedule
from miha.run.checks import check_integer
from miha.utils.warn import warn


@dataclass(frozen=True)
class Budgets:
    """What a run may cost, each None where nothing is said.

    Attributes:
        max_seconds: Seconds of training, the last m epochs included.
        max_epochs: Epochs, all clones' and the last m included.
        patience: Cycles in a row without a better monitored value.
        target: The monitored value that is good enough.
    """

    max_seconds: float | None = None
    max_epochs: int | None = None
    patience: int | None = None
    target: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether only the run itself shows how long it will be."""
        return bool(self.open_ends)

    @property
    def open_ends(self) -> str:
        """What may end the run before, in words; empty where nothing may."""
        names = ("max_seconds", "patience", "target")
        values = {name: getattr(self, name) for name in names}
        return ", ".join(f"{name}={v:g}" for name, v in values.items() if v is not None)

    def longest(self, schedule: LongestSchedule) -> LongestSchedule:
        """Return a schedule with as many cycles as ``max_epochs`` has room for."""
        if self.max_epochs is None:
            return schedule
        # Cycles need not be as long as one can be.
        room = (self.max_epochs - 2 * schedule.m) // (schedule.pop_size * schedule.n + schedule.k)
        return replace(schedule, c=min(room, schedule.c), limit=self.max_epochs)


def check_budgets(
    max_seconds: Any,
    max_epochs: Any,
    patience: Any,
    target: Any,
    schedule: Schedule,
    further: int = 0,
) -> Budgets:
    """Return the budgets of a run.

    Args:
        max_seconds: See `Budgets`, as for the next three.
        max_epochs: Of the run.
        patience: Cycles.
        target: A value.
        schedule: The run's.
        further: Clones of a cycle that may train beside a population: those that join.

    Raises:
        ArgumentError: One is no number, too small, or has no room for the run's two ends.
    """
    return Budgets(
        None if max_seconds is None else _seconds(max_seconds),
        None if max_epochs is None else _epochs(max_epochs, schedule, further),
        None if patience is None else check_integer("patience", patience, 1),
        None if target is None else _number("target", target),
    )


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value):
        raise ArgumentError(
            f"`{name}` must be a finite number, or None. Received: {name}={value!r}. "
            "Give a number, or leave the argument out."
        )
    return float(value)


def _seconds(max_seconds: Any) -> float:
    value = _number("max_seconds", max_seconds)
    if value <= 0:
        raise ArgumentError(
            f"`max_seconds` must be positive. Received: max_seconds={max_seconds!r}. "
            "Give the seconds that the run may train."
        )
    return value


def _epochs(max_epochs: Any, schedule: Schedule, further: int) -> int:
    value, ends = check_integer("max_epochs", max_epochs, 1), 2 * schedule.m
    cycle = schedule.epochs_of_cycle + further * schedule.n
    if value < ends:
        raise ArgumentError(
            f"`max_epochs` must be at least 2 m = {ends}: the first and the last training. "
            f"Received: max_epochs={max_epochs}. Raise it, or lower m."
        )
    if schedule.c and value < ends + cycle:
        warn(
            f"max_epochs={max_epochs} has no room for a cycle: 2 m = {ends}, and a cycle has "
            f"{'up to ' if further else ''}{cycle} epochs. The network is trained without "
            "mutation."
        )
    return value
