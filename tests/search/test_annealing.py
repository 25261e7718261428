"""Annealing: the learning rate falls once only rests are left."""

from __future__ import annotations

import pytest
from fakes import make_plan

from miha.search.annealing import LONGEST, cosine, rates

PLAN = make_plan(m=10, n=2, k=2, c=6, pop_size=5, anneal=True)


def test_a_cosine_falls_from_one_to_near_zero():
    factors = cosine(4)
    assert factors[0] == 1.0
    assert factors[2] == pytest.approx(0.5)
    assert list(factors) == sorted(factors, reverse=True)
    assert 0 < factors[-1] < 0.2


def test_without_rests_at_the_end_only_the_last_training_anneals():
    assert rates(7, range(0), PLAN) == cosine(10)
    assert rates(2, range(2, 3), PLAN) == rates(4, range(4, 6), PLAN) == ()


def test_one_cosine_goes_over_the_last_rests_and_the_last_training():
    factors = rates(6, range(6, 7), PLAN) + rates(7, range(6, 7), PLAN)
    assert factors == cosine(22)


def test_a_cosine_is_at_most_a_share_of_the_run():
    # Rests may be longer than what is left of the run.
    rests = range(4, 11)
    factors = [factor for cycle in (4, 5, 6, 7) for factor in rates(cycle, rests, PLAN)]
    longest = int(LONGEST * PLAN.schedule.epochs)
    assert len(factors) == 3 * 12 + 10
    assert factors[-longest:] == list(cosine(longest))
    assert set(factors[:-longest]) == {1.0}


def test_nothing_anneals_where_the_policy_says_so():
    plan = make_plan(m=10, n=2, k=2, c=6, pop_size=5, anneal=False)
    assert rates(6, range(6, 7), plan) == rates(7, range(6, 7), plan) == ()
