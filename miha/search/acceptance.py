"""Acceptance: a mutant must be better than the unchanged control by more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from miha.records import Mode, Network

WINDOW = 8
"""Epochs of the network's past that tell its noise: before them it learned in another way."""


def noise(values: Sequence[float]) -> float:
    """Estimate how much a value of one epoch goes up and down, its trend aside.

    The median of the second differences' absolute values, divided by what it is for independent
    normal values of deviation one. A second difference is free of a steady trend, and the median
    of the few that a bend or a leap spoils: a network that still learns fast has no noise for it.

    Args:
        values: Of consecutive epochs; fewer than three second differences tell nothing, which is 0.
    """
    second = np.abs(np.diff([value for value in values if math.isfinite(value)], 2))
    return float(np.median(second) / (0.6745 * math.sqrt(6))) if len(second) > 2 else 0.0


def accepted(ranked: Sequence[Network], control: Network, bar: float, mode: Mode) -> list[Network]:
    """Return clones in their order, but the control first where none is better by enough.

    Args:
        ranked: The fittest clones, the best first.
        control: The unchanged clone.
        bar: By how much the monitored value of the fittest must be better.
        mode: Whether values are better small or large.
    """
    fittest = ranked[0]
    gain = (control.value - fittest.value) * (1 if mode == "min" else -1)
    if not math.isfinite(control.value) or fittest is control or gain > bar:
        return list(ranked)
    others = [clone for clone in ranked if clone is not control]
    return [control, *others][: len(ranked)]
