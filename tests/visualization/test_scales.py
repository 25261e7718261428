"""Scales: each value has a place, in order, and what is written there can be read."""

from __future__ import annotations

import pytest

from miha.visualization.scales import GainScale, Scale


def test_scales_place_numbers_logarithms_and_words():
    assert Scale.of([1, 2, 5]).place(2) == 2
    assert Scale.of([0.001, 0.1]).place(0.01) == pytest.approx(-2)
    words = Scale.of(["relu", "elu", None])
    assert [words.place(v) for v in ("elu", "relu", None)] == [0, 1, 2]
    assert Scale.of([1, None]).place(None) is None
    assert Scale.of([True, False]).ticks() == ([0.0, 1.0], ["False", "True"])


def test_a_number_that_is_missing_lies_below_all_others():
    scale = Scale.of([1, None, 3])
    assert scale.filled([1, None, 3]) == [1, scale.below, 3] and scale.below < 1


def test_of_many_numbers_some_are_written_from_the_smallest_to_the_largest():
    places, texts = Scale.of([float(i) for i in range(1, 10)]).ticks()
    assert len(texts) == 8 and (places[0], places[-1]) == (1, 9)
    places, texts = Scale.of([10.0**-i for i in range(20)]).ticks()
    assert 2 <= len(texts) <= 9 and {float(text) for text in texts} <= {10.0**-i for i in range(20)}


def test_a_gain_scale_has_a_place_for_all_gains_in_their_order():
    gains = [-3.0, -0.001, 0.0, 0.0005, 0.002, 200.0, None]
    scale = GainScale.of(gains)
    places = [scale.place(gain) for gain in gains if gain is not None]
    low, high = scale.bounds
    assert places == sorted(places) and low < places[0] and places[-1] < high
    ticks, words = scale.ticks()
    assert ticks == sorted(ticks) and words[ticks.index(0.0)] == "0"
    assert min(b - a for a, b in zip(ticks, ticks[1:], strict=False)) >= 0.049 * (high - low)
    assert GainScale.of([]).bounds[0] < 0 < GainScale.of([]).bounds[1]


def test_a_gain_out_of_all_proportion_lies_at_the_end_of_the_axis():
    scale = GainScale.of([-1e30, -0.02, 0.0, 0.01, 0.03])
    ticks, words = scale.ticks()
    assert words[0].startswith("≤ -") and ticks[0] == scale.place(-1e30) == scale.place(-1e20)
    assert scale.place(-0.02) > scale.place(-1e30) / 10  # The others are not squeezed together.
    most = GainScale.of([1e-9] * 8 + [0.5, 1.0, -2.0])  # Next to nothing, most of them.
    assert most.place(0.5) < most.place(1.0)


def test_no_gain_and_the_largest_one_have_the_colours_of_the_middle_and_an_end():
    colours = GainScale.of([-1.0, 0.0, 2.0]).colours([-1.0, 0.0, 2.0])
    low, middle, high = colours["color"]
    assert middle == 0 and colours["cmin"] == -high and colours["cmax"] == high > -low


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([0.001, 0.00202, 0.0025, 0.00625, 0.0159], ["0.001", "0.00202", "0.00625", "0.0159"]),
        ([0.0, 0.004, 0.01, 0.1], ["0", "0.01", "0.1"]),
        ([0.0, 0.5, 0.99, 1.0], ["0", "0.5", "1"]),
        ([0.25], ["0.25"]),
    ],
)
def test_numbers_that_would_stand_on_each_other_are_not_all_written(numbers, texts):
    assert Scale.of(numbers).ticks()[1] == texts
