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
        return cls.of([value for value in values if math.isfinite(value)])

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of some values."""
        count = len(values)
        value = float(np.mean(values)) if count else math.nan
        error = float(_stats().sem(values)) if count > 1 else math.nan
        return cls(value, error, count)

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
    if len(gaps) < 2 or not np.all(np.isfinite(gaps)):
        return math.nan
    # The test divides by the spread, which is 0 where all differences are alike.
    if np.ptp(gaps) <= 1e-6 * np.max(np.abs(gaps)):
        return math.nan if any(gaps) else 1.0
    return float(_stats().ttest_1samp(gaps, 0.0).pvalue)


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
    ranked = np.where(np.isfinite(values), values, worst)
    return [_spearman(column, ranked[:, -1]) for column in ranked.T]


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    # SciPy warns of values that are all the same, and of two trials alone.
    if len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    with np.errstate(invalid="ignore"):
        return float(_stats().spearmanr(first, second).statistic)


def better_of(mode: Mode, values: Sequence[float]) -> float:
    """Return the best of some values, NaN of none."""
    finite = [value for value in values if math.isfinite(value)]
    best = min if mode == "min" else max
    return best(finite, default=math.nan)


def regrets(mode: Mode, known: float, values: Sequence[float]) -> list[float]:
    """Return by how much values are worse than the best known one; negative: better."""
    sign = 1.0 if mode == "min" else -1.0
    # Adding 0.0 takes the minus from a zero.
    return [round(sign * (value - known), 12) + 0.0 for value in values]


def _stats() -> Any:
    return need("scipy.stats", "compare")
