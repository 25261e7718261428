"""Means, differences, regrets, rank correlations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from miha.compare.statistics import Difference, Mean, better_of, p_value, rank_correlations, regrets


@pytest.mark.parametrize(
    "gaps, p", [([0.0, 0.0], 1.0), ([0.1, 0.1], math.nan), ([0.1], math.nan), ([], math.nan)]
)
def test_a_paired_test_that_cannot_be_done_gives_no_number(gaps, p):
    assert p_value(gaps) == p or (math.isnan(p) and math.isnan(p_value(gaps)))


def test_differences_are_of_the_seeds_that_both_have():
    found = Difference.of({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.5, 1: 1.0, 3: 7.0})
    assert found.mean == Mean(0.75, 0.25, 2)


def test_a_mean_of_those_that_are_numbers_leaves_out_the_others():
    assert Mean.finite([1.0, math.nan, 3.0]) == Mean(2.0, 1.0, 2)


def test_a_mean_has_an_error_where_there_are_two_values():
    assert str(Mean.of([])) == "–" and str(Mean.of([0.5])) == "0.5000"
    assert (
        Mean.of([1.0, 3.0]) == Mean(2.0, 1.0, 2) and str(Mean.of([1.0, 3.0])) == "2.0000 ± 1.0000"
    )


def test_the_best_and_the_regrets_go_by_the_mode():
    assert better_of("min", [math.nan, 2.0, 1.0]) == 1.0 and better_of("max", [2.0, 1.0]) == 2.0
    assert math.isnan(better_of("min", [math.inf]))
    assert regrets("max", 0.9, [0.9, 0.8]) == [0.0, 0.1] and regrets("min", 0.1, [0.3]) == [0.2]
    assert str(regrets("max", 0.9, [0.9])) == "[0.0]"


def test_rank_correlations_tell_how_early_ranks_predict_the_last_ones():
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(7, 5)), axis=1)
    found = rank_correlations(values, "min")
    expected = [scipy.spearmanr(column, values[:, -1]).statistic for column in values.T]
    assert found == pytest.approx(expected) and found[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("mode, bad", [("min", 9.0), ("max", -9.0)])
def test_a_candidate_that_diverges_ranks_last(mode, bad):
    values = np.array([[1.0, 1.0], [2.0, 2.0], [math.nan, math.inf], [0.5, 3.0]])
    filled = np.where(np.isfinite(values), values, bad)
    assert rank_correlations(values, mode) == pytest.approx(rank_correlations(filled, mode))


def test_candidates_that_are_all_alike_have_no_ranks():
    assert math.isnan(rank_correlations(np.array([[1.0, 1.0], [1.0, 2.0]]), "min")[0])


def test_two_candidates_have_ranks_without_a_warning():
    values = np.array([[1.0, 2.0, 1.0], [2.0, 1.0, 2.0]])
    assert rank_correlations(values, "min") == pytest.approx([1.0, -1.0, 1.0])
