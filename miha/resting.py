"""Resting: where mutations do not pay, their epochs go to the network itself."""

from __future__ import annotations

from collections.abc import Mapping


def is_rest(cycle: int, won: Mapping[int, bool]) -> bool:
    """Tell whether a cycle trains the network alone, for all the epochs of its population.

    When the unchanged control is the fittest in two populations running, the next cycle is a
    rest; with each further one, the rest is twice as long and a cycle more. A mutant that wins
    ends that: a network that mutations help has none, and one that is good already loses few
    epochs to them.

    Args:
        cycle: 1 to c.
        won: Whether the control won, for each earlier cycle that had a population.
    """
    streak = rest = 0
    for earlier in range(1, cycle):
        if rest:
            rest -= 1
        else:
            streak = streak + 1 if won.get(earlier) else 0
            rest = 2 ** max(streak - 1, 0) - 1
    return rest > 0
