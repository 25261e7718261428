"""Keyword arguments that do not exist: the error names the nearest, or the new spelling."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from miha.errors import ArgumentError
from miha.utils.keywords import explains_call, explains_keywords


@explains_keywords("miha.Thing", {"asynchronous": "Write parallel=True.", "size": "Leave it out."})
@dataclass(frozen=True)
class Thing:
    """A thing.

    Args:
        weight: How heavy.
        height: How high.
    """

    weight: float = 1.0
    height: float = 2.0


class Plain:
    def __init__(self, weight, *, height=2.0):
        self.both = (weight, height)


def test_known_arguments_are_passed_on_by_place_and_by_name():
    assert Thing(3.0, height=4.0) == Thing(weight=3.0, height=4.0)
    explained = explains_keywords("Plain")(Plain)
    assert explained is Plain
    assert Plain(3.0, height=4.0).both == (3.0, 4.0)


def test_a_misspelt_argument_is_told_the_nearest():
    with pytest.raises(ArgumentError) as refused:
        Thing(hieght=1.0)
    assert str(refused.value) == (
        "`miha.Thing` must be given arguments that it has. Received: hieght=... "
        "Did you mean `height`?"
    )


def test_an_argument_like_no_other_is_shown_all():
    with pytest.raises(ArgumentError, match=r"Received: xyz=\.\.\. Choose from \['weight', 'hei"):
        Thing(xyz=1)


def test_an_old_argument_is_told_its_new_spelling():
    with pytest.raises(ArgumentError) as refused:
        Thing(asynchronous=True)
    assert str(refused.value) == (
        "`miha.Thing` no longer has the argument `asynchronous`. Received: asynchronous=... "
        "Write parallel=True."
    )


def test_a_misspelt_old_argument_is_told_the_new_spelling_too():
    with pytest.raises(ArgumentError, match=r"asynchronus=\.\.\. Write parallel=True\."):
        Thing(asynchronus=True)


def test_the_first_of_several_unknown_arguments_is_named():
    with pytest.raises(ArgumentError, match="Received: size="):
        Thing(size=1, wieght=2)


def test_a_class_stays_what_it_was():
    assert Thing.__name__ == "Thing" and Thing.__doc__.startswith("A thing.")
    assert list(inspect.signature(Thing).parameters) == ["weight", "height"]
    with pytest.raises(FrozenInstanceError):
        Thing().weight = 2.0


def test_missing_arguments_are_pythons_own_affair():
    explains_keywords("Plain")(Plain)
    with pytest.raises(TypeError, match="weight"):
        Plain()


@explains_call("go", elsewhere={"epochs": "Write miha.Thing(epochs=...)."})
def go(x, y=None, *, batch_size=None):
    """Return what is given."""
    return x, y, batch_size


def test_a_function_explains_what_it_is_wrongly_given():
    assert go(1, 2, batch_size=3) == (1, 2, 3)
    with pytest.raises(ArgumentError) as refused:
        go(1, epochs=10)
    assert str(refused.value) == (
        "`go` must be given arguments that it has. Received: epochs=... "
        "Write miha.Thing(epochs=...)."
    )
    with pytest.raises(
        ArgumentError, match=r"Received: batchsize=\.\.\. Did you mean `batch_size`"
    ):
        go(1, batchsize=10)
    with pytest.raises(ArgumentError, match=r"by name from `batch_size` on. Received: 32 without"):
        go(1, 2, 32)
    with pytest.raises(ArgumentError, match=r"must not be given so many.*ndarray.*Leave it out"):
        explains_call("stop")(lambda: None)(np.zeros(3))
