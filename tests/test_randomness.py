"""Randomness is a place: the same place gives the same numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from miha.randomness import draw_seed, generator, move_to, position

PLACE = (3, "clone", 2, 1, "order")


def draw(*place) -> list[int]:
    return generator(*place).integers(2**31, size=4).tolist()


def test_the_same_place_gives_the_same_numbers():
    assert draw(*PLACE) == draw(*PLACE)


def test_what_was_drawn_elsewhere_does_not_matter():
    expected = draw(*PLACE)
    np.random.default_rng().random(10)
    generator(3, "clone", 2, 0, "order").random(1000)
    assert draw(*PLACE) == expected


@pytest.mark.parametrize(
    "other",
    [
        (4, "clone", 2, 1, "order"),
        (3, "winner", 2, 1, "order"),
        (3, "clone", 3, 1, "order"),
        (3, "clone", 2, 0, "order"),
        (3, "clone", 2, 1, "noise"),
        (3, "clone", 1, 2, "order"),
    ],
)
def test_another_place_gives_other_numbers(other):
    assert draw(*other) != draw(*PLACE)


def test_no_two_places_of_a_run_share_their_numbers():
    places = [
        (seed, phase, cycle, clone, purpose)
        for seed in (0, 1, 2**31 - 1)
        for phase in ("initial", "clone", "winner", "final")
        for cycle in range(4)
        for clone in range(4)
        for purpose in ("mutation", "order", "noise")
    ]
    assert len({tuple(draw(*place)) for place in places}) == len(places)


def test_a_place_gives_the_same_numbers_in_every_process_and_version():
    assert generator(*PLACE).bit_generator.random_raw() == 6824885314294021698


def test_zero_and_large_numbers_are_seeds():
    assert draw(0, *PLACE[1:]) == draw(0, *PLACE[1:])
    assert draw(2**40, *PLACE[1:]) != draw(0, *PLACE[1:])


def test_a_drawn_seed_differs_from_time_to_time():
    seeds = [draw_seed() for _ in range(5)]
    assert len(set(seeds)) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_generator_goes_on_from_where_another_one_of_its_place_was():
    first = generator(*PLACE)
    first.permutation(7)
    first.spawn(2)
    first.integers(3, dtype="int32")  # Half of a drawn number is left for the next one.
    place = json.loads(json.dumps(position(first)))
    second = generator(*PLACE)
    move_to(second, place)
    for rng in (first, second):
        rng.integers(9, dtype="int32")
    assert first.integers(2**40) == second.integers(2**40)
    # A child of a child that was counted is another one.
    assert first.spawn(1)[0].integers(2**40) == second.spawn(1)[0].integers(2**40)
