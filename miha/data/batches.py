"""Batches that a function makes again for each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from numbers import Integral
from typing import Any

from miha.errors import ArgumentError


class Batches:
    """Batches that a function makes again for each epoch: what `MIHA` takes as ``x``.

    A generator can be read once only, and MIHA reads its data many times. A function that returns
    a new generator can be called as often. If it takes an argument, it gets a seed that depends on
    nothing but the place in the run. If every draw is from that seed, all clones of a cycle get
    the same samples, and so does an interrupted run.

    Args:
        make: Returns an iterable of batches ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, each
            of arrays; also a `tf.data.Dataset`. It may be infinite.
        length: Number of batches of one epoch, at least 1.

    Raises:
        ArgumentError: `make` is no function, or `length` no integer of at least 1.
    """

    def __init__(
        self,
        make: Callable[..., Iterable[Any]],
        length: int,
    ) -> None:
        if not callable(make):
            raise ArgumentError(
                "`make` must be a function that returns a new iterable of batches. "
                f"Received: {type(make)}. Give the generator function, not what it returned."
            )
        is_integer = isinstance(length, Integral) and not isinstance(length, bool)
        if not is_integer or length < 1:
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
        batches = self._make(seed) if self.takes_seed else self._make()
        return islice(iter(batches), self._length)


def _takes_argument(function: Callable[..., Any]) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for parameter in inspect.signature(function).parameters.values():
        is_required = parameter.default is parameter.empty
        if parameter.kind in positional and is_required:
            return True
    return False
