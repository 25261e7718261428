"""Racing: clones that are behind stop early, and their epochs go to more candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miha.records import Network, Schedule
from miha.search.fitness import fittest


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


def finalists(ranked: Sequence[Network], seeded: Sequence[Network], count: int) -> list[Network]:
    """Return the clones that train on: the fittest, and those that have a place for certain.

    Args:
        ranked: The ``count`` fittest of the heat, the best first.
        seeded: Clones that train on however fit they are, unless they have lost: at most ``count``.
        count: How many train on.
    """
    alive = fittest(seeded, count)
    others = [clone for clone in ranked if not any(clone is one for one in alive)]
    return fittest([*alive, *others[: count - len(alive)]], count)
