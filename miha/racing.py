"""Racing: clones that are behind stop early, and their epochs go to more candidates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

from miha.fitness import fittest
from miha.records import Network, Schedule


@dataclass(frozen=True)
class Race:
    """One round of successive halving within a population.

    Source: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and
    Hyperparameter Optimization" (2016).

    Attributes:
        candidates: Clones that begin.
        heat: Epochs that each of them trains.
        finalists: Clones that train on: half of them, rounded down, but at least two.
        final: Epochs that each of those trains on.
    """

    candidates: int
    heat: int
    finalists: int
    final: int

    @property
    def epochs(self) -> int:
        """All epochs of a population."""
        return self.candidates * self.heat + self.finalists * self.final


def race(schedule: Schedule) -> Race:
    """Return the race with the most candidates within a population's ``pop_size n`` epochs.

    Args:
        schedule: With n >= 2 and pop_size >= 2.
    """
    heat = schedule.n // 2
    final, total = schedule.n - heat, schedule.pop_size * schedule.n
    candidates = schedule.pop_size
    while (candidates + 1) * heat + _survivors(candidates + 1) * final <= total:
        candidates += 1
    return Race(candidates, heat, _survivors(candidates), final)


def _survivors(candidates: int) -> int:
    """Return how many train on: at least two, of whom one may be the control."""
    return max(candidates // 2, 2)


def finalists(clones: Iterable[Network], count: int, control: bool) -> list[Network]:
    """Return the clones that train on, the fittest first; a control that has not lost among them.

    Args:
        clones: Trained one after another as they are asked for.
        count: How many train on.
        control: Whether the first clone is the control.
    """
    clones = iter(clones)
    unchanged = fittest(islice(clones, int(control)), 1)
    ranked = fittest(chain(unchanged, clones), count)
    missing = [c for c in unchanged if not any(c is clone for clone in ranked)]
    return [*ranked[: count - len(missing)], *missing]
