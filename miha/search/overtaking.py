"""Overtaking: a network that begins anew is measured at the age that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from miha.records import Mode

CAUTION = 2.0
"""By how many times the lead of a clone is doubted: it is largest at the beginning."""


def overtakes(life: Sequence[float], value: float, age: int, left: int, mode: Mode) -> bool:
    """Tell whether a restart is expected to overtake the network in the epochs that are left.

    After so few epochs it is seldom better than a network that has trained for many. But where it
    is already as good as the network was at several times its age, it learns as many times faster;
    it is taken where half of that pace, to the end, would bring it further, and where the network
    was never as good.

    Args:
        life: The network's values, from its first epoch to the unchanged control's last.
        value: The restart's last.
        age: Epochs that the restart has trained.
        left: Epochs that the network will still train.
        mode: Whether values are better small or large.
    """
    sign = 1 if mode == "min" else -1
    as_good = (i for i, earlier in enumerate(life, 1) if sign * earlier <= sign * value)
    reached = next(as_good, None)
    if reached is None:
        return True
    pace = reached / age / CAUTION
    return reached + left * pace > len(life) + left


def is_in_vain(life: Sequence[float], mode: Mode) -> bool:
    """Tell whether a network is worse than it was after its first epoch, or has diverged.

    Args:
        life: The network's values, from its first epoch on.
        mode: Whether values are better small or large.
    """
    sign = 1 if mode == "min" else -1
    first = next(filter(math.isfinite, life), None)
    return first is None or not sign * life[-1] <= sign * first
