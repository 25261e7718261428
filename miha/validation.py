"""Checks of single values: each returns the value, or raises an error with rule, value, cure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from numbers import Integral, Real
from typing import Any

from miha.errors import ArgumentError
from miha.utils.suggest import did_you_mean

DEFAULT_BATCH_SIZE = 32
"""That of `fit`."""


def check_integer(
    name: str,
    value: Any,
    low: int,
) -> int:
    """Return an integer of at least ``low``.

    Raises:
        ArgumentError: It is not.
    """
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or value < low:
        cure = f"Give {low} or more" if is_integer else "Give a whole number"
        raise ArgumentError(
            f"`{name}` must be an integer >= {low}. Received: {name}={value!r}. {cure}."
        )
    return int(value)


def check_number(name: str, value: Any) -> float:
    """Return a finite number.

    Raises:
        ArgumentError: It is not.
    """
    if not is_number(value) or not -inf < value < inf:
        raise ArgumentError(
            f"`{name}` must be a finite number, or None. Received: {name}={value!r}. "
            "Give a number, or leave the argument out."
        )
    return float(value)


def check_positive(
    name: str,
    value: Any,
    zero: bool = False,
) -> float:
    """Return a positive number; with ``zero``, 0 will do.

    Raises:
        ArgumentError: It is not.
    """
    is_positive = is_number(value) and 0 <= value < inf and (value > 0 or zero)
    if not is_positive:
        raise ArgumentError(
            f"`{name}` must be a number {'>= 0' if zero else '> 0'}. "
            f"Received: {name}={value!r}. Give one."
        )
    return float(value)


def check_share(name: str, value: Any) -> float | None:
    """Return a share, or None where that was given.

    Raises:
        ArgumentError: It is negative, not finite or no number.
    """
    if value is None:
        return None
    if not is_number(value) or not 0 <= value < inf:
        raise ArgumentError(
            f"`{name}` must be a number >= 0, or None. Received: {name}={value!r}. "
            "Give a share such as 0.05."
        )
    return float(value)


def check_one_of(
    name: str,
    value: Any,
    choices: Sequence[Any],
) -> None:
    """Raise unless a value is one of a few.

    Raises:
        ArgumentError: It is not.
    """
    if value not in choices:
        names = [choice for choice in choices if isinstance(choice, str)]
        raise ArgumentError(
            f"`{name}` must be one of {list(choices)}. "
            f"Received: {name}={value!r}.{did_you_mean(value, names)} Choose one."
        )


def check_batch_size(
    name: str,
    value: Any,
    samples: int,
) -> int:
    """Return a batch size that fits the data.

    Raises:
        ArgumentError: It does not.
    """
    check_integer(name, value, 1)
    if value > samples:
        raise ArgumentError(
            f"`{name}` must not exceed the number of samples. "
            f"Received: {name}={value} for {samples} samples. Choose a smaller one."
        )
    return int(value)


def choose_batch_size(
    value: Any,
    own: int | None,
    rebatches: bool,
    samples: int,
    multiple: int = 1,
) -> int:
    """Return the batch size to begin with.

    Where the user asks for none, it is 32, or all samples where they are fewer, as in `fit`.

    Args:
        value: What the user asks for, or None.
        own: The size of the batches that the data comes in, or None.
        rebatches: Whether it can be put into others.
        samples: How many there are.
        multiple: What every batch size is a multiple of.

    Raises:
        ArgumentError: It does not fit the data.
    """
    if own is not None and (value is None or not rebatches):
        return own
    if value is not None:
        return check_batch_size("batch_size", value, samples)
    most = min(DEFAULT_BATCH_SIZE, samples)
    return most - most % multiple or most


def check_policy(
    name: str,
    value: Any,
    kind: type,
) -> None:
    """Raise unless an argument is an object of its class.

    Raises:
        ArgumentError: It is not.
    """
    if not isinstance(value, kind):
        raise ArgumentError(
            f"`{name}` must be a `miha.{kind.__name__}`. Received: {name}={value!r}. "
            f"Write {name}=miha.{kind.__name__}(...), or leave it out."
        )


def is_number(value: Any) -> bool:
    """Return whether a value is a real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)
