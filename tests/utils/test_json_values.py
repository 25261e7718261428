"""Values as JSON can hold them: what becomes of them, and what comes back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from miha.utils.json_values import numbers, plain


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1: "a", None: (1, 2)}, {"1": "a", "None": [1, 2]}),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        (np.arange(3), [0, 1, 2]),
        (np.array([[1.0, math.nan]]), [[1.0, "nan"]]),
        (np.bool_(True), True),
        (-math.inf, "-inf"),
        (None, None),
        (1 + 2j, "(1+2j)"),
        (range(3), "range(0, 3)"),
    ],
)
def test_every_value_becomes_one_that_json_holds(value, expected):
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


def test_an_object_is_the_same_text_wherever_it_lies_in_memory():
    assert plain(Thing()) == plain(Thing())
    assert "0x" not in plain(Thing())


def test_numbers_come_back_as_they_were():
    values = {"loss": math.nan, "all": [1.0, math.inf, -math.inf], "epochs": 3}
    back = numbers(json.loads(json.dumps(plain(values))))
    assert math.isnan(back["loss"])
    assert back["all"] == values["all"]
    assert back["epochs"] == 3 and isinstance(back["epochs"], int)
