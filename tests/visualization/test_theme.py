"""The looks of figures: colours that stand out, round numbers, text that is no markup."""

from __future__ import annotations

import math

import pytest

from miha.mutations.draw import MUTATIONS
from miha.records import RESERVED_GENES
from miha.visualization import theme


def contrast(colour, ground):
    def light(text):
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(colour), light(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_white_and_on_black():
    for colour in (theme.MAIN, theme.VERMILION, theme.GREY):
        assert contrast(colour, "#ffffff") > 3 and contrast(colour, "#14171a") > 3
    for colour in theme.COLOURS:  # Markers, which have shapes as well.
        assert contrast(colour, "#ffffff") > 2 and contrast(colour, "#14171a") > 3


@pytest.mark.parametrize("low, high", [(1e-5, 1.0), (0.3, 0.7), (2.0, 2.1), (1.0, 1e30)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low, high):
    ticks = theme.log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in ticks)


def test_ticks_of_a_logarithmic_axis_are_round():
    assert theme.log_ticks(0.001, 0.1) == [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
    assert theme.log_ticks(1e-5, 0.01) == [1e-5, 3e-5, 1e-4, 3e-4, 0.001, 0.003, 0.01]


def test_bounds_leave_outliers_out_and_are_never_empty():
    values = [*range(100), 1e9]
    low, high = theme.bounds(values)
    assert low < 2 and 97 < high < 110
    low, high = theme.bounds([0.0])
    assert low < 0 < high


def test_numbers_that_are_missing_are_a_dash():
    assert [theme.number(value) for value in (None, math.nan, 0.123456)] == ["–", "–", "0.1235"]
    assert theme.number(0.5, "+.4g") == "+0.5"


def test_text_is_cut_before_it_is_escaped():
    assert theme.safe("<b>&" * 9, 5) == "&lt;b&gt;&amp;…"


def test_each_kind_of_mutation_has_looks_of_its_own_and_no_mark_is_a_kinds():
    looks = list(theme.KINDS.values())
    assert len({symbol for _, symbol in looks}) == len(looks)
    assert {*MUTATIONS, *RESERVED_GENES} == set(theme.KINDS)
    marks = {theme.SELECTED, theme.BEST, theme.MEDIAN, theme.RETURN, theme.FAILED}
    own = {*theme.OTHER_SYMBOLS, *(symbol for _, symbol in looks)}
    assert marks.isdisjoint(own)


def test_a_kind_that_a_user_wrote_looks_the_same_in_every_run():
    assert theme.look("my_gene") == theme.look("my_gene")
    assert theme.symbol("my_gene") in theme.OTHER_SYMBOLS
    assert len({theme.look(f"gene_{n}") for n in range(20)}) > 10
