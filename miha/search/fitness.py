"""Fitness: from the curve of a clone to one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from miha.errors import ArgumentError, MihaError
from miha.records import Curve, as_loss

Fitness = Callable[[Curve], float]
"""Any callable from a `Curve` to a number; the larger, the fitter."""

LOSES = -math.inf


@dataclass(frozen=True)
class LevelAndSlope:
    """The fitness of the method: a low last loss, and a loss that falls.

    ``slope_weight * (first - last) - level_weight * last``, both signs turned where larger
    values are better; ``first`` is the parent's value when n = 1.

    Source: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for
    optimizing neural network hyperparameters" (2021), which names the two parts.

    Args:
        level_weight: Weight of the last value, at least 0.
        slope_weight: Weight of the gain from the first to the last value, at least 0; alone, it
            compares clones by their rate of improvement.
        recovery: Whether the slope counts from a first value that is worse than the parent's, as
            in 2021. A clone that was thrown back is then rewarded for what it takes back.

    Raises:
        ArgumentError: A weight is negative, not finite or no number, or both are 0.
    """

    level_weight: float = 1.0
    slope_weight: float = 1.0
    recovery: bool = False

    def __post_init__(self) -> None:
        for name in ("level_weight", "slope_weight"):
            value: Any = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
                raise ArgumentError(
                    f"`{name}` must be a finite number >= 0. Received: {name}={value!r}. "
                    "Where larger values are better, mode='max' says so."
                )
        if not self.level_weight and not self.slope_weight:
            raise ArgumentError(
                "`level_weight` or `slope_weight` must be positive, or no clone is fitter than "
                "another. Received: 0 for both. The default is 1 for both."
            )

    def __call__(self, curve: Curve) -> float:
        """Return the fitness of ``curve``."""
        first = as_loss(curve.first, curve.mode)
        last = as_loss(curve.last, curve.mode)
        if not self.recovery and math.isfinite(curve.start):
            first = min(first, as_loss(curve.start, curve.mode))
        return self.slope_weight * (first - last) - self.level_weight * last


def score(fitness: Fitness, curve: Curve) -> float:
    """Apply a fitness so that what is not finite always loses.

    Args:
        fitness: The user's or the default one.
        curve: The clone's.

    Returns:
        The fitness, or minus infinity.

    Raises:
        MihaError: The fitness raised, or returned no number.
    """
    if not math.isfinite(curve.last):
        return LOSES
    try:
        value = float(fitness(curve))
    except Exception as error:
        name = getattr(fitness, "__name__", type(fitness).__name__)
        raise MihaError(f"The fitness function {name} raised {error!r} on {curve}.") from error
    return value if math.isfinite(value) else LOSES
