"""Batches that a function makes anew for each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from numbers import Integral
from typing import Any

from miha.errors import ArgumentError


class Batches:
    """Batches that a function makes anew for each epoch: what `MIHA` takes as ``x``.

    A generator can be read once only, and MIHA reads its data many times; a function that
    returns a new one can be called as often. Where it takes an argument, it is given a seed that
    depends on nothing but the place in the run: a function that draws from it, and from nothing
    else, gives every clone of a cycle the same samples, and an interrupted run the same ones
    again.

    Args:
        make: Returns an iterable of batches ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, each
            of arrays; also a `tf.data.Dataset`. It may be infinite.
        length: Number of batches of one epoch, at least 1.

    Raises:
        ArgumentError: One of them is not that.
    """

    def __init__(self, make: Callable[..., Iterable[Any]], length: int) -> None:
        if not callable(make):
            raise ArgumentError(
                "`make` must be a function that returns a new iterable of batches. "
                f"Received: {type(make)}. Give the generator function, not what it returned."
            )
        if not isinstance(length, Integral) or isinstance(length, bool) or length < 1:
            raise ArgumentError(
                "`length` must be the number of batches of one epoch, an integer >= 1. "
                f"Received: length={length!r}. Count them, or decide for how many to train."
            )
        self._make: Callable[..., Iterable[Any]] = make
        self._length: int = int(length)
        self.takes_seed: bool = _takes_argument(make)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return self.begin(0)

    def begin(self, seed: int) -> Iterator[Any]:
        """Return the batches of a new epoch.

        Args:
            seed: Given to the function, if it takes it.
        """
        made = self._make(seed) if self.takes_seed else self._make()
        return islice(iter(made), self._length)


def _takes_argument(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)
