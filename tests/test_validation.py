"""Checks of single values: rule, value received, cure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from miha.errors import ArgumentError, MihaError
from miha.options import Search
from miha.validation import (
    check_batch_size,
    check_integer,
    check_number,
    check_one_of,
    check_policy,
    check_positive,
    check_share,
    choose_batch_size,
    is_number,
)


def test_an_integer_is_given_back_as_pythons_own():
    assert type(check_integer("seed", np.int64(5), 0)) is int
    assert check_integer("seed", 0, 0) == 0


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        (0, "Give 1 or more"),
        *((value, "Give a whole number") for value in (1.0, "1", None, True, np.float64(2))),
    ],
)
def test_what_is_no_integer_or_too_small_is_named(value, cure):
    text = rf"`m` must be an integer >= 1\. Received: m=.*\. {cure}\."
    with pytest.raises(ArgumentError, match=text):
        check_integer("m", value, 1)


def test_a_refused_argument_is_a_value_error_of_mihas():
    for kind in (ValueError, MihaError):
        with pytest.raises(kind):
            check_integer("m", 0, 1)


@pytest.mark.parametrize("value", [1, -0.5, np.float32(0.5), np.int64(-3)])
def test_a_number_is_given_back_as_a_float(value):
    found = check_number("target", value)
    assert (type(found), found) == (float, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, 1j])
def test_what_is_no_finite_number_is_named(value):
    text = "`target` must be a finite number, or None. Received: target=.*leave the argument out"
    with pytest.raises(ArgumentError, match=text):
        check_number("target", value)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "1", None, True])
def test_what_is_not_positive_is_named(value):
    with pytest.raises(ArgumentError, match="`cpus` must be a number > 0. Received: cpus="):
        check_positive("cpus", value)


def test_nought_is_positive_where_it_will_do():
    assert check_positive("gpus", 0, zero=True) == 0.0
    assert check_positive("cpus", np.float32(0.5)) == 0.5
    with pytest.raises(ArgumentError, match="`gpus` must be a number >= 0. Received: gpus=-1"):
        check_positive("gpus", -1, zero=True)


def test_a_share_is_a_number_or_none():
    assert check_share("backtrack", None) is None
    assert [check_share("backtrack", value) for value in (0, 0.05, 3)] == [0.0, 0.05, 3.0]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", True])
def test_what_is_no_share_is_named(value):
    text = "`backtrack` must be a number >= 0, or None. Received: backtrack=.*such as 0.05"
    with pytest.raises(ArgumentError, match=text):
        check_share("backtrack", value)


def test_one_of_a_few_is_accepted_and_another_is_shown_them():
    check_one_of("keep", "all", ("all", "none"))
    text = r"`keep` must be one of \['all', 'none'\]\. Received: keep='some'\. Choose one\."
    with pytest.raises(ArgumentError, match=text):
        check_one_of("keep", "some", ("all", "none"))


def test_a_batch_size_may_hold_all_samples_and_no_more():
    assert check_batch_size("batch_size", 100, 100) == 100
    with pytest.raises(ArgumentError, match="batch_size=101 for 100 samples"):
        check_batch_size("batch_size", 101, 100)


@pytest.mark.parametrize("value", [0, -1, 2.5, "all", None, True])
def test_a_batch_size_must_be_a_positive_integer(value):
    with pytest.raises(ArgumentError, match="`batch_size` must be an integer"):
        check_batch_size("batch_size", value, 100)


@pytest.mark.parametrize(
    ("value", "own", "rebatches", "expected"),
    [
        (None, None, True, 32),
        (8, None, True, 8),
        (None, 16, True, 16),
        (8, 16, True, 8),
        (8, 16, False, 16),  # Batches that stay as they are.
    ],
)
def test_the_batch_size_is_the_users_or_that_of_the_data(value, own, rebatches, expected):
    assert choose_batch_size(value, own, rebatches, 100) == expected


@pytest.mark.parametrize(
    ("samples", "multiple", "expected"), [(20, 1, 20), (1, 1, 1), (100, 3, 30), (7, 4, 4)]
)
def test_the_usual_batch_size_is_cut_to_what_there_is(samples, multiple, expected):
    assert choose_batch_size(None, None, True, samples, multiple) == expected
    with pytest.raises(ArgumentError, match="batch_size=32 for 20 samples"):
        choose_batch_size(32, None, True, 20)


def test_a_policy_must_be_of_its_class():
    check_policy("search", Search(), Search)
    text = (
        r"`search` must be a `miha\.Search`\. Received: search=None\. Write search=miha\.Search\("
    )
    with pytest.raises(ArgumentError, match=text):
        check_policy("search", None, Search)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (1.5, True), (np.float32(1), True), (True, False), ("1", False), (1j, False)],
)
def test_a_truth_value_is_no_number(value, expected):
    assert is_number(value) is expected
