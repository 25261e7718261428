"""Checks: what is refused before anything is trained or written, and in which words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import GENOME, RICH_SPACE, SPACE, FakeTrainer

from miha.callbacks import Callback
from miha.errors import ArgumentError, MihaError
from miha.mutations import ActivationMutation, BatchSizeMutation
from miha.records import Schedule
from miha.run.checks import (
    check_batch_size,
    check_choices,
    check_integer,
    check_mutations,
    check_ruler,
    check_schedule,
    resolve_monitor,
)

SCHEDULE = Schedule(m=2, n=2, k=1, c=2, pop_size=3)
METRICS = FakeTrainer.metrics


def choose(keep="all", mode="auto", verbose=1, callbacks=()):
    check_choices(keep, mode, verbose, callbacks)


@pytest.mark.parametrize(
    "numbers", [(1, 1, 0, 0, 2), (10, 3, 3, 10, 5), (np.int64(2), 1, np.int32(1), 1, 2)]
)
def test_a_schedule_of_integers_is_accepted(numbers):
    check_schedule(Schedule(*numbers), control=True)


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
        ("k", None),
    ],
)
def test_a_number_of_the_schedule_that_is_too_small_or_no_integer_is_named(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be an integer.*Received: {name}="):
        check_schedule(replace(SCHEDULE, **{name: value}), control=False)


def test_a_control_needs_a_second_clone():
    lonely = replace(SCHEDULE, pop_size=1)
    check_schedule(lonely, control=False)
    with pytest.raises(ArgumentError, match="pop_size=1.*control=False"):
        check_schedule(lonely, control=True)


def test_an_integer_is_given_back_as_pythons_own():
    assert type(check_integer("seed", np.int64(5), 0)) is int
    assert check_integer("seed", 0, 0) == 0


def test_a_batch_size_may_hold_all_samples_and_no_more():
    assert check_batch_size("batch_size", 100, 100) == 100
    with pytest.raises(ArgumentError, match="batch_size=101 for 100 samples"):
        check_batch_size("batch_size", 101, 100)


@pytest.mark.parametrize("value", [0, -1, 2.5, "all", None, True])
def test_a_batch_size_must_be_a_positive_integer(value):
    with pytest.raises(ArgumentError, match="`batch_size` must be an integer"):
        check_batch_size("batch_size", value, 100)


def test_every_choice_is_accepted():
    choices = {
        "keep": ["all", "model", "final", "none"],
        "mode": ["auto", "min", "max"],
        "verbose": [0, 1, 2],
        "callbacks": [[], [Callback()]],
    }
    assert [choose(**{name: value}) for name in choices for value in choices[name]] == [None] * 12


@pytest.mark.parametrize(
    ("name", "value"),
    [("keep", "last"), ("keep", None), ("mode", "low"), ("verbose", 3), ("verbose", "yes")],
)
def test_a_wrong_choice_is_shown_with_the_right_ones(name, value):
    with pytest.raises(ArgumentError, match=rf"`{name}` must be one of \[.*Received: {name}="):
        choose(**{name: value})


@pytest.mark.parametrize("callback", [print, Callback, None])
def test_a_callback_must_be_an_object_of_mihas_class(callback):
    with pytest.raises(ArgumentError, match="Derive your class"):
        choose(callbacks=[Callback(), callback])


def test_what_mutates_does_not_measure():
    check_ruler("loss", SPACE)
    check_ruler("val_loss", RICH_SPACE)
    with pytest.raises(ArgumentError, match="`monitor` must not be the training loss"):
        check_ruler("loss", RICH_SPACE)


def test_mutations_that_can_change_the_network_are_accepted():
    check_mutations([BatchSizeMutation()], GENOME, SPACE, SCHEDULE)


def test_there_must_be_a_mutation():
    with pytest.raises(ArgumentError, match="something to mutate"):
        check_mutations([], GENOME, SPACE, SCHEDULE)


def test_a_mutation_must_be_able_to_change_something():
    space = replace(SPACE, slots={})
    with pytest.raises(ArgumentError, match="none of which can change"):
        check_mutations([ActivationMutation()], GENOME, space, SCHEDULE)


def test_a_run_without_cycles_needs_no_mutation():
    check_mutations([], GENOME, SPACE, replace(SCHEDULE, c=0))


@pytest.mark.parametrize(
    ("name", "mode", "direction"),
    [
        ("val_loss", "auto", "min"),
        ("val_accuracy", "auto", "max"),
        ("val_loss", "max", "max"),
        ("custom", "min", "min"),
        ("custom", "max", "max"),
    ],
)
def test_a_monitored_value_has_a_direction(name, mode, direction):
    assert resolve_monitor(name, mode, METRICS) == (name, direction)


def test_a_value_that_is_not_logged_cannot_be_monitored():
    with pytest.raises(ArgumentError, match="'val_loss'.*Received: monitor='val_mae'"):
        resolve_monitor("val_mae", "auto", METRICS)


def test_a_value_of_unknown_direction_needs_a_mode():
    with pytest.raises(ArgumentError, match="'custom'.*Set mode='min' or mode='max'"):
        resolve_monitor("custom", "auto", METRICS)


def test_a_refused_argument_is_a_value_error_of_mihas():
    for kind in (ValueError, MihaError):
        with pytest.raises(kind):
            check_integer("m", 0, 1)
