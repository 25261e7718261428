"""Fitness: level and slope, and what always loses."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from miha.errors import ArgumentError, MihaError
from miha.records import Curve
from miha.search.fitness import LOSES, LevelAndSlope, score


def test_level_and_slope_join_the_gain_and_the_last_value():
    assert LevelAndSlope()(Curve(9.0, (5.0, 4.0, 2.0))) == (5.0 - 2.0) - 2.0


def test_with_one_epoch_the_slope_is_counted_from_the_parent():
    assert LevelAndSlope()(Curve(9.0, (2.0,))) == (9.0 - 2.0) - 2.0


def test_the_weights_weigh_level_and_slope():
    curve = Curve(9.0, (5.0, 2.0))
    assert LevelAndSlope(level_weight=10.0, slope_weight=0.5)(curve) == 0.5 * 3.0 - 10.0 * 2.0
    assert LevelAndSlope(level_weight=0.0)(curve) == 3.0
    assert LevelAndSlope(slope_weight=0.0)(curve) == -2.0


def test_of_two_equal_slopes_the_lower_level_is_fitter():
    fitness = LevelAndSlope()
    assert fitness(Curve(9.0, (3.0, 2.0))) > fitness(Curve(9.0, (4.0, 3.0)))


def test_of_two_equal_levels_the_steeper_slope_is_fitter():
    fitness = LevelAndSlope()
    assert fitness(Curve(9.0, (4.0, 2.0))) > fitness(Curve(9.0, (3.0, 2.0)))


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_where_larger_is_better_both_signs_turn(epochs):
    rng = np.random.default_rng(0)
    fitness = LevelAndSlope(level_weight=0.7, slope_weight=1.3)
    for start, *values in rng.normal(size=(50, epochs + 1)):
        mirrored = Curve(-start, tuple(-v for v in values), "max")
        assert fitness(mirrored) == pytest.approx(fitness(Curve(start, tuple(values), "min")))


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_curve_that_does_not_end_finite_loses(last, mode):
    assert score(LevelAndSlope(), Curve(1.0, (1.0, last), mode)) == LOSES


def test_a_curve_that_has_diverged_is_not_shown_to_the_fitness():
    def fitness(curve):
        raise AssertionError

    assert score(fitness, Curve(1.0, (math.nan,))) == LOSES


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_fitness_that_is_not_finite_loses(value):
    assert score(lambda curve: value, Curve(1.0, (1.0,))) == LOSES


def test_a_fitness_may_be_any_number():
    found = score(lambda curve: np.float32(0.5), Curve(1.0, (1.0,)))
    assert (type(found), found) == (float, 0.5)


def test_a_fitness_reads_the_curve_and_its_mode():
    curve = Curve(3.0, (2.0, 1.0), "max")
    seen = []
    score(lambda c: seen.append(c) or 0.0, curve)
    assert seen == [curve]


def test_a_fitness_that_raises_is_named():
    def steepest(curve):
        raise ZeroDivisionError("flat")

    with pytest.raises(MihaError, match="fitness function steepest raised ZeroDivisionError") as e:
        score(steepest, Curve(1.0, (1.0,)))
    assert isinstance(e.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("value", [None, "high", [1.0, 2.0]])
def test_a_fitness_that_returns_no_number_is_named(value):
    def wordy(curve):
        return value

    with pytest.raises(MihaError, match="wordy"):
        score(wordy, Curve(1.0, (1.0,)))


def test_a_fitness_without_a_name_is_named_by_its_class():
    with pytest.raises(MihaError, match="partial"):
        score(partial(lambda a, curve: None, 1), Curve(1.0, (1.0,)))


def test_a_slope_does_not_count_what_a_clone_only_takes_back():
    thrown_back, steady = Curve(0.3, (2.0, 0.4)), Curve(0.3, (0.3, 0.29))
    assert LevelAndSlope()(thrown_back) == pytest.approx(0.3 - 0.4 - 0.4)
    assert LevelAndSlope()(thrown_back) < LevelAndSlope()(steady)
    as_in_2021 = LevelAndSlope(recovery=True)
    assert as_in_2021(thrown_back) == pytest.approx(2.0 - 0.4 - 0.4)
    assert as_in_2021(thrown_back) > as_in_2021(steady)


def test_where_large_is_better_a_slope_does_not_count_recovery_either():
    curve = Curve(0.9, (0.2, 0.8), "max")
    assert LevelAndSlope()(curve) == pytest.approx(0.8 - 0.9 + 0.8)
    assert LevelAndSlope(recovery=True)(curve) == pytest.approx(0.8 - 0.2 + 0.8)


def test_a_parent_without_a_value_caps_no_slope():
    assert LevelAndSlope()(Curve(float("nan"), (2.0, 1.0))) == pytest.approx(2.0 - 1.0 - 1.0)


@pytest.mark.parametrize("name", ["level_weight", "slope_weight"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None])
def test_a_weight_that_would_turn_the_search_round_is_refused(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a finite number >= 0. Received: "):
        LevelAndSlope(**{name: value})


def test_one_weight_of_two_must_be_positive():
    with pytest.raises(ArgumentError, match="no clone is fitter than another"):
        LevelAndSlope(level_weight=0, slope_weight=0)
