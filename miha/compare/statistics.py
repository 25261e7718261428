"""Means, paired differences and regrets of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
        """Return the mean of those values that are numbers."""
        return cls.of([value for value in values if math.isfinite(value)])

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of some values."""
        n = len(values)
        value = float(np.mean(values)) if n else math.nan
        error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return cls(value, error, n)

    def __str__(self) -> str:
        if not self.count:
            return "–"
        return f"{self.value:.4f}" + ("" if math.isnan(self.error) else f" ± {self.error:.4f}")


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
        gaps = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
        return cls(Mean.of(gaps), p_value(gaps))


def p_value(gaps: Sequence[float]) -> float:
    """Return how likely paired differences at least this large are where there is none.

    Source: Student's t-test of paired samples; `scipy.stats.ttest_1samp`.
    """
    if len(gaps) < 2 or not np.all(np.isfinite(gaps)):
        return math.nan
    if np.ptp(gaps) <= 1e-6 * max(map(abs, gaps)):  # All alike: the test divides by their spread.
        return 1.0 if not any(gaps) else math.nan
    return float(need("scipy.stats", "compare").ttest_1samp(gaps, 0.0).pvalue)


def rank_correlations(values: np.ndarray, mode: Mode) -> list[float]:
    """Return how well the ranks after each epoch predict those after the last one.

    Source: C. Spearman's rank correlation (1904); equal values share their mean rank.

    Args:
        values: Shape (trials, epochs): the monitored value. What is not finite ranks last.
        mode: Whether it is better small or large.

    Returns:
        The correlation after each epoch, -1 to 1; NaN where all ranks are the same.
    """
    worst = np.inf if mode == "min" else -np.inf
    values = np.where(np.isfinite(values), values, worst)
    stats = need("scipy.stats", "compare")
    ranks = [stats.rankdata(column) for column in values.T]
    return [_correlation(column, ranks[-1]) for column in ranks]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation; of ranks, it is Spearman's."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def better_of(mode: Mode, values: Sequence[float]) -> float:
    """Return the best of some values, NaN of none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan
    return min(finite) if mode == "min" else max(finite)


def regrets(mode: Mode, known: float, values: Sequence[float]) -> list[float]:
    """Return by how much values are worse than the best known one; negative: better."""
    sign = 1.0 if mode == "min" else -1.0
    return [round(sign * (value - known), 12) + 0.0 for value in values]  # No minus before zero.
