"""Checks: what is refused before anything is trained or written, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import GENOME, RICH_SPACE, SPACE, FakeTrainer

from miha.callbacks import Callback
from miha.errors import ArgumentError
from miha.mutations import ActivationMutation, BatchSizeMutation
from miha.records import Schedule
from miha.run.checks import (
    check_callbacks,
    check_choices,
    check_mutations,
    check_ruler,
    check_search,
    resolve_monitor,
)
from miha.search.fitness import LevelAndSlope
from miha.space import SearchSpace

SCHEDULE = Schedule(m=2, n=2, k=1, c=2, pop_size=3)
METRICS = FakeTrainer.metrics


def choose(keep="all", mode="auto", verbose=1):
    check_choices(keep, mode, verbose)


def test_every_choice_is_accepted():
    choices = {
        "keep": ["all", "model", "final", "none"],
        "mode": ["auto", "min", "max"],
        "verbose": ["auto", 0, 1, 2],
    }
    assert [choose(**{name: value}) for name in choices for value in choices[name]] == [None] * 11


@pytest.mark.parametrize(
    ("name", "value"),
    [("keep", "last"), ("keep", None), ("mode", "low"), ("verbose", 3), ("verbose", "yes")],
)
def test_a_wrong_choice_is_shown_with_the_right_ones(name, value):
    with pytest.raises(ArgumentError, match=rf"`{name}` must be one of \[.*Received: {name}="):
        choose(**{name: value})


@pytest.mark.parametrize(
    ("callback", "cure"),
    [
        (print, "Derive it from `miha.Callback`"),
        (None, "Derive it from"),
        (Callback, r"Received: <class 'miha.*Callback'>. Call it: callbacks="),
    ],
)
def test_a_callback_must_be_an_object_of_mihas_class(callback, cure):
    with pytest.raises(ArgumentError, match=cure):
        check_callbacks([Callback(), callback])


def test_a_single_callback_needs_no_list_as_in_fit():
    one = Callback()
    assert check_callbacks(one) == check_callbacks([one]) == check_callbacks((one,)) == [one]
    assert check_callbacks(None) == check_callbacks(()) == []
    with pytest.raises(ArgumentError, match="`callbacks` must be a list of"):
        check_callbacks(print)


def test_a_misspelt_monitor_is_told_the_nearest():
    with pytest.raises(ArgumentError, match="monitor='val_los'. Did you mean 'val_loss'"):
        resolve_monitor("val_los", "auto", METRICS)
    with pytest.raises(ArgumentError, match="mode='mni'. Did you mean 'min'"):
        choose(mode="mni")


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


def test_a_search_space_and_a_fitness_of_the_right_kind_are_accepted():
    check_search(None, None)
    check_search(SearchSpace(), LevelAndSlope())
    check_search(None, lambda curve: curve.last)


def test_a_search_space_of_another_kind_is_refused():
    with pytest.raises(ArgumentError, match="`space` must be a `miha.SearchSpace`. Received: "):
        check_search({"batch_size": (1, 2)}, None)


def test_a_fitness_that_cannot_be_called_is_refused():
    with pytest.raises(ArgumentError, match="`fitness` must be callable.*Received: 'slope'"):
        check_search(None, "slope")
