"""Back to the best network of a run, when the present one has become clearly worse.

Against the greed of short trials, which V. Dalibard and M. Jaderberg describe in "Faster
Improvement Rate Population Based Training" (2021).
"""

from __future__ import annotations

import math

from miha.records import Mode, Network


def better(first: Network, second: Network, mode: Mode) -> Network:
    """Return the network with the better monitored value, the second of equals."""
    return first if gap(second.value, first.value, mode) > 0 else second


def backtracked(network: Network, best: Network, share: float | None, mode: Mode) -> Network:
    """Return the best network of a run where the present one is clearly worse.

    Args:
        network: The present one.
        best: The best one so far.
        share: By which share of the best value the present one may be worse; None: by any.
        mode: Whether values are better small or large.
    """
    if share is None or not gap(network.value, best.value, mode) > share * abs(best.value):
        return network
    return best


def gap(value: float, best: float, mode: Mode) -> float:
    """Return by how much a value is worse than another one; one that is not finite is worst.

    Args:
        value: The one.
        best: The other.
        mode: Whether values are better small or large.
    """
    worse = value - best if mode == "min" else best - value
    return math.inf if math.isnan(worse) and not math.isnan(best) else worse
