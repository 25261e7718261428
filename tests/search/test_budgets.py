"""The schedule of a run: from its letters, its total, or both."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miha.errors import ArgumentError
from miha.options import Budget
from miha.records import Schedule
from miha.search.budgets import DEFAULT, announcement, choose_schedule

LETTERS = ("m", "n", "k", "c", "pop_size")
OTHERS = {"m": 4, "n": 2, "k": 5, "c": 3, "pop_size": 7}
"""Letters that are not the defaults."""


def test_without_a_total_missing_letters_are_the_defaults():
    assert choose_schedule() == Schedule(m=10, n=3, k=3, c=10, pop_size=5) == DEFAULT
    assert choose_schedule(m=2, c=0) == Schedule(m=2, n=3, k=3, c=0, pop_size=5)
    assert choose_schedule(**OTHERS) == Schedule(**OTHERS)
    assert choose_schedule(k=0).k == 0


def test_two_hundred_epochs_are_the_default():
    assert choose_schedule(200) == DEFAULT
    assert choose_schedule(epochs=200, n=3) == DEFAULT
    assert DEFAULT.epochs == 200


SUBSETS = [names for count in range(6) for names in combinations(LETTERS, count)]


@pytest.mark.parametrize("names", SUBSETS, ids=str)
def test_the_total_is_never_exceeded_and_letters_that_are_given_are_kept(names):
    letters = {name: OTHERS[name] for name in names}
    kept = {name: value for name, value in letters.items() if name != "c"}
    lowest = 2 * letters.get("m", 1)
    for epochs in (*range(lowest, 60), *range(60, 401, 7), 400):
        schedule = choose_schedule(epochs, **letters)
        assert schedule.epochs <= epochs
        assert kept.items() <= vars(schedule).items()
        if "c" in letters:
            # A cycle is left out only where the shortest ones do not fit.
            shortest = schedule.pop_size * letters.get("n", 1) + letters.get("k", 1)
            has_room = lowest + (schedule.c + 1) * shortest <= epochs
            assert schedule.c == letters["c"] or not has_room


@given(
    epochs=st.integers(2, 2000),
    letters=st.fixed_dictionaries(
        {},
        optional={
            "m": st.integers(1, 30),
            "n": st.integers(1, 9),
            "k": st.integers(0, 9),
            "c": st.integers(0, 40),
            "pop_size": st.integers(2, 20),
        },
    ),
)
def test_any_letters_with_any_total_give_a_schedule_or_an_error(epochs, letters):
    try:
        schedule = choose_schedule(epochs, **letters)
    except ArgumentError:
        assert epochs < 2 * letters.get("m", 1)
        return
    assert schedule.epochs <= epochs
    assert min(schedule.m, schedule.n, schedule.pop_size) >= 1
    assert min(schedule.k, schedule.c) >= 0
    assert {name: getattr(schedule, name) for name in letters if name != "c"} == {
        name: value for name, value in letters.items() if name != "c"
    }


@pytest.mark.parametrize("epochs", [*range(8, 60), *range(60, 401, 17)])
def test_a_total_alone_is_used_up_and_has_a_search(epochs):
    schedule = choose_schedule(epochs)
    assert schedule.epochs == epochs
    assert schedule.c >= 1 and schedule.pop_size == 5
    assert {schedule.n, schedule.k} <= {1, 2, 3}


@pytest.mark.parametrize("epochs", [2, 3, 5, 7])
def test_a_total_without_room_for_a_cycle_trains_the_network_alone(epochs):
    schedule = choose_schedule(epochs)
    assert (schedule.c, schedule.m) == (0, epochs // 2)


@pytest.mark.parametrize("epochs", [100, 150, 200, 300, 400, 1000])
def test_the_ends_of_a_long_run_have_about_a_tenth_of_its_epochs(epochs):
    schedule = choose_schedule(epochs)
    assert 0.04 < 2 * schedule.m / schedule.epochs < 0.16
    assert schedule.c >= 4


def test_cycles_that_the_total_has_no_room_for_are_left_out():
    given = {"m": 10, "n": 3, "k": 3, "pop_size": 5}
    assert choose_schedule(200, **given, c=99) == DEFAULT
    assert choose_schedule(109, **given, c=10).c == 4
    assert choose_schedule(20, **given, c=10).c == 0
    assert choose_schedule(100, c=10) == Schedule(m=10, n=1, k=3, c=10, pop_size=5)
    assert choose_schedule(200, **given, c=2) == Schedule(m=10, n=3, k=3, c=2, pop_size=5)


def test_a_number_of_numpys_will_do():
    schedule = choose_schedule(np.int64(200), m=np.int32(10))
    assert schedule == DEFAULT and type(schedule.m) is int
    assert type(choose_schedule(c=np.int64(4)).c) is int


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("m", 0),
        ("n", 0),
        ("k", -1),
        ("c", -1),
        ("pop_size", 0),
        ("m", 2.0),
        ("c", True),
        ("n", "3"),
        ("k", float("nan")),
        ("epochs", 1),
        ("epochs", 20.0),
        ("epochs", True),
    ],
)
def test_a_number_that_is_too_small_or_no_integer_is_named(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be an integer.*Received: {name}="):
        choose_schedule(**{name: value}, control=False)


def test_a_total_that_the_ends_exceed_is_refused_with_rule_value_and_cure():
    text = (
        r"`epochs` must be at least 2 m = 20: the first and the last training\. "
        r"Received: epochs=19\. Raise it, or lower m\."
    )
    with pytest.raises(ArgumentError, match=text):
        choose_schedule(19, m=10)
    assert choose_schedule(20, m=10).c == 0


@pytest.mark.parametrize("epochs", [None, 100])
def test_a_control_needs_a_second_clone(epochs):
    assert choose_schedule(epochs, pop_size=1, control=False).pop_size == 1
    with pytest.raises(ArgumentError, match="pop_size=1.*control=False"):
        choose_schedule(epochs, pop_size=1)


SCHEDULE = Schedule(m=2, n=2, k=1, c=3, pop_size=3)


def test_an_announcement_says_how_many_epochs_there_will_be():
    assert announcement(SCHEDULE, "logs/x", Budget()) == (
        "MIHA trains 25 epochs: 2 x m=2, and c=3 cycles of pop_size=3 clones x n=2 and k=1. "
        "Folder: logs/x"
    )


def test_an_announcement_of_open_end_is_an_upper_bound():
    text = announcement(SCHEDULE, "logs/x", Budget(seconds=60, target=0.5))
    assert text.startswith("MIHA trains at most 25 epochs: 2 x m=2, and c=3 cycles")
    assert "fewer where seconds=60, target=0.5 ends it" in text
