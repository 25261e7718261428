"""The checksum of a user's code: what counts for it, and whose code it is.

That changed code is another run is tested in tests/run/test_identity.py.
"""

from __future__ import annotations

import functools
import json
import re

import numpy as np
import pytest

import miha
from miha.utils.code_digest import digest, is_user_code

SCALE = 2.0


def scaled(value):
    return SCALE * value


def made(text: str):
    """Return the function `f` of a program's text."""
    names = {"__name__": __name__}
    exec(text, names)
    return names["f"]


class Cached:
    @functools.cached_property
    def size(self):
        return 1


class OtherwiseCached:
    @functools.cached_property
    def size(self):
        return 2


OtherwiseCached.__qualname__ = "Cached"


def test_a_checksum_is_eight_hexadecimal_digits():
    assert re.fullmatch("[0-9a-f]{8}", digest(scaled))


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("def f(x): return x", "\n\n# A comment.\ndef f(x):\n    'Says.'\n    return x", True),
        ("def f(x):\n    'Says.'\n    return x", "def f(x):\n    'Talks.'\n    return x", True),
        ("def f(x): return x", "def f(x): return -x", False),
        ("def f(x, y=1): return x", "def f(x, y=2): return x", False),
        ("def f(x, *, y=1): return x", "def f(x, *, y=2): return x", False),
        ("def f(x): return 'Says.'", "def f(x): return 'Talks.'", False),
        ("A = 1\ndef f(x): return A", "A = 2\ndef f(x): return A", False),
        ("A = 1\ndef f(x): return x", "A = 2\ndef f(x): return x", True),
        ("def f(x): return f(x - 1)", "def f(x): return f(x - 1)", True),
        ("def f(x): return x in {'a', 'b', 'c'}", "def f(x): return x in {'c', 'b', 'a'}", True),
    ],
)
def test_what_a_function_does_counts_and_not_how_it_is_written(first, second, is_same):
    assert (digest(made(first)) == digest(made(second))) == is_same


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (np.zeros(3), np.zeros(3), True),
        (np.zeros(3), np.zeros((3, 1)), False),
        (np.zeros(3), np.zeros(3, "float32"), False),
        ({"a": 1}, {"a": 2}, False),
        ({"a", "b", "c"}, {"c", "b", "a"}, True),
        ([1, 2], (1, 2), True),
        (functools.partial(scaled, 1), functools.partial(scaled, 1), True),
        (functools.partial(scaled, 1), functools.partial(scaled, value=1), False),
        (Cached, OtherwiseCached, False),
        (Cached(), OtherwiseCached(), False),
        (np.mean, np.median, False),
        (functools.wraps(scaled)(lambda value: value), scaled, False),
        (functools.cache(scaled), functools.cache(scaled), True),
    ],
)
def test_values_and_objects_count_by_what_they_hold(first, second, is_same):
    assert (digest(first) == digest(second)) == is_same


def test_a_closure_whose_variable_has_no_value_yet_has_a_checksum():
    def outer():
        def inner():
            return later

        found = digest(inner)
        later = 1
        return found, digest(inner), later

    before, after, _ = outer()
    assert before != after


def test_things_that_hold_each_other_end():
    first, second = [], []
    first.append(second)
    second.append(first)
    assert digest(first) == digest(first)


@pytest.mark.parametrize(
    ("thing", "is_users"),
    [
        (scaled, True),
        (Cached, True),
        (Cached(), True),
        (made("def f(x): return x"), True),
        (json.dumps, False),
        (np.mean, False),
        (np.zeros(1), False),
        (miha.SearchSpace(), False),
        (miha.MIHA, False),
        (1.0, False),
    ],
)
def test_what_is_the_users_is_neither_pythons_nor_an_installed_packages(thing, is_users):
    assert is_user_code(thing) == is_users


def test_a_function_without_a_module_is_the_users():
    names = {}
    exec("def f(x): return x", names)
    assert is_user_code(names["f"])
