"""Acceptance: a mutant must be better than the unchanged control by more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from miha.records import Mode, Network


def noise(values: Sequence[float]) -> float:
    """Estimate how much a value of one epoch goes up and down, its trend aside.

    The standard deviation of the differences between epochs, by the square root of two: that of
    one value where they are independent of each other.

    Args:
        values: Of consecutive epochs; fewer than three differences tell nothing, which is 0.
    """
    differences = np.diff([value for value in values if math.isfinite(value)])
    return float(np.std(differences) / math.sqrt(2)) if len(differences) > 2 else 0.0


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
