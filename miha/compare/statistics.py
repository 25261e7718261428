"""Means, paired differences, regrets and rank correlations of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.records import Mode
from miha.utils.optional import need

Scores = Mapping[int, float]
"""From a seed to a score."""


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error.

    Attributes:
        value: NaN of no values.
        error: NaN of fewer than two.
        count: Of the values.
    """

    value: float
    error: float
    count: int

    @classmethod
    def finite(cls, values: Sequence[float]) -> Mean:
        """Return the mean of those values that are finite."""
        return cls.of(finite(values))

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of some values."""
        count = len(values)
        if count == 0:
            return cls(math.nan, math.nan, 0)
        value = float(np.mean(values))
        if count == 1:
            return cls(value, math.nan, 1)
        error = _stats().sem(values)
        return cls(value, float(error), count)

    def __str__(self) -> str:
        if not self.count:
            return "–"
        if math.isnan(self.error):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ± {self.error:.4f}"


@dataclass(frozen=True)
class Difference:
    """A paired difference.

    Attributes:
        mean: Over the seeds that both have.
        p: Two-sided, of Student's paired t-test; NaN where there are too few pairs.
    """

    mean: Mean
    p: float

    @classmethod
    def of(cls, first: Scores, second: Scores) -> Difference:
        """Return first minus second."""
        seeds = sorted(first.keys() & second.keys())
        gaps = [first[seed] - second[seed] for seed in seeds]
        return cls(Mean.of(gaps), p_value(gaps))


def p_value(gaps: Sequence[float]) -> float:
    """Return how likely paired differences at least this large are where there is none.

    Source: Student's t-test of paired samples; `scipy.stats.ttest_1samp`.
    """
    count = len(gaps)
    if count < 2 or len(finite(gaps)) < count:
        return math.nan
    # The test divides by the spread, which is 0 where all differences are alike.
    largest = np.max(np.abs(gaps))
    if np.ptp(gaps) <= 1e-6 * largest:
        return math.nan if largest else 1.0
    test = _stats().ttest_1samp(gaps, 0.0)
    return float(test.pvalue)


def rank_correlations(
    values: np.ndarray,
    mode: Mode,
) -> list[float]:
    """Return how well the ranks after each epoch predict those after the last one.

    Source: C. Spearman's rank correlation (1904); equal values share their mean rank.

    Args:
        values: Shape (trials, epochs): the monitored value. What is not finite ranks last.
        mode: Whether it is better small or large.

    Returns:
        The correlation after each epoch, -1 to 1; NaN where all ranks are the same.
    """
    worst = np.inf if mode == "min" else -np.inf
    ranked = np.where(np.isfinite(values), values, worst)
    last = ranked[:, -1]
    return [_spearman(column, last) for column in ranked.T]


def _spearman(
    first: np.ndarray,
    second: np.ndarray,
) -> float:
    # SciPy warns of values that are all the same.
    if len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan
    # Of two trials it cannot compute a p-value, and warns of that.
    with np.errstate(invalid="ignore"):
        found = _stats().spearmanr(first, second)
    return float(found.statistic)


def finite(values: Sequence[float]) -> list[float]:
    """Return the values that are finite."""
    return [value for value in values if math.isfinite(value)]


def better_of(mode: Mode, values: Sequence[float]) -> float:
    """Return the best of some values, NaN of none."""
    known = finite(values)
    if not known:
        return math.nan
    return min(known) if mode == "min" else max(known)


def regrets(
    mode: Mode,
    known: float,
    values: Sequence[float],
) -> list[float]:
    """Return by how much values are worse than the best known one; negative: better."""
    sign = 1.0 if mode == "min" else -1.0
    gaps = [sign * (value - known) for value in values]
    # Adding 0.0 takes the minus from a zero.
    return [round(gap, 12) + 0.0 for gap in gaps]


def _stats() -> Any:
    return need("scipy.stats", "compare")
