"""A warning names the user's own line, from whatever depth of the package it comes."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import pytest

import miha
from miha.errors import MihaWarning
from miha.storage.lock import locked
from miha.utils.warn import warn

HELPERS = """
import contextlib

from miha.utils.warn import warn


def deep(depth):
    if depth:
        deep(depth - 1)
    else:
        warn("deep")


@contextlib.contextmanager
def entered():
    warn("entered")
    yield
    warn("left")


def generated():
    yield 1
    warn("generated")
    yield 2
"""


@pytest.fixture
def inside():
    """Functions that Python takes for a part of the package."""
    names = {}
    file = Path(miha.__file__).with_name("no_such_file.py")
    exec(compile(HELPERS, str(file), "exec"), names)
    return names


def here() -> int:
    return sys._getframe(1).f_lineno


def place(caught):
    [warning] = caught
    assert warning.category is MihaWarning
    assert warning.filename == __file__
    return str(warning.message), warning.lineno


@pytest.mark.parametrize("depth", [0, 1, 7])
def test_the_line_is_found_from_any_depth(inside, depth):
    with pytest.warns(MihaWarning) as caught:
        line = here() + 1
        inside["deep"](depth)
    assert place(caught) == ("deep", line)


def test_the_line_is_that_of_the_users_with(inside):
    with pytest.warns(MihaWarning) as caught, contextlib.ExitStack() as stack:
        line = here() + 1
        stack.enter_context(inside["entered"]())
        assert place(caught) == ("entered", line)
        caught.clear()
        line = here() + 1
        stack.close()
    assert place(caught) == ("left", line)


def test_the_line_is_the_one_that_asks_a_generator_for_more(inside):
    values = inside["generated"]()
    next(values)
    with pytest.warns(MihaWarning) as caught:
        line = here() + 1
        next(values)
    assert place(caught) == ("generated", line)


def test_a_warning_of_the_package_itself_names_the_users_line(tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.warns(MihaWarning, match="knows no locks") as caught:
        line = here() + 1
        with locked(tmp_path):
            pass
    assert place(caught)[1] == line


def test_without_the_package_in_the_way_it_is_the_caller():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = here() + 1
        warn("called")
    assert place(caught) == ("called", line)
