"""Clear errors for keyword arguments that do not exist, or no longer do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from miha.errors import ArgumentError
from miha.utils.suggest import nearest

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])


def explains_keywords(
    call: str,
    replaced: Mapping[str, str] | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> Callable[[Class], Class]:
    """Return a class decorator that explains unknown keyword arguments of the constructor.

    Args:
        call: What the user writes, e.g. ``"miha.Search"``.
        replaced: The new spelling of each old keyword.
        elsewhere: What to write instead of a keyword that one may expect and that never was.
    """

    def decorate(decorated: Class) -> Class:
        construct: Callable[..., None] = vars(decorated)["__init__"]
        checked = explains_call(call, replaced, elsewhere)(construct)
        setattr(decorated, "__init__", checked)  # noqa: B010  # mypy refuses the assignment
        return decorated

    return decorate


def explains_call(
    call: str,
    replaced: Mapping[str, str] | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> Callable[[Function], Function]:
    """Return a decorator that explains wrong arguments of a function or method.

    Args:
        call: What the user writes, e.g. ``"optimize"``.
        replaced: The new spelling of each old keyword.
        elsewhere: What to write instead of a keyword that one may expect and that never was.
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        places = [one.name for one in parameters if one.kind != one.KEYWORD_ONLY]
        known = [one.name for one in parameters if one.name != "self"]
        named = [name for name in known if name not in places]
        cures = elsewhere or {}

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if len(args) > len(places):
                raise ArgumentError(_too_many(call, named, args[len(places) :]))
            for name in kwargs:
                if name in cures:
                    raise ArgumentError(_unknown(call, name, cures[name]))
                if name not in known:
                    raise ArgumentError(_explanation(call, name, known, replaced or {}))
            return function(*args, **kwargs)

        return cast("Function", checked)

    return decorate


def _too_many(
    call: str,
    named: list[str],
    given: tuple[Any, ...],
) -> str:
    """Return what to say of arguments that are given by place and have none."""
    value = given[0]
    # It may be a large array.
    short = repr(value) if isinstance(value, int | float | str) else str(type(value))
    if not named:
        return f"`{call}` must not be given so many arguments. Received: {short}. Leave it out."
    return (
        f"`{call}` must be given its arguments by name from `{named[0]}` on. "
        f"Received: {short} without one. Write {named[0]}=..., say."
    )


def _explanation(
    call: str,
    name: str,
    known: Iterable[str],
    replaced: Mapping[str, str],
) -> str:
    if name in replaced:
        return (
            f"`{call}` no longer has the argument `{name}`. Received: {name}=... {replaced[name]}"
        )
    meant = nearest(name, [*known, *replaced])
    if meant is not None and meant in replaced:
        cure = replaced[meant]
    elif meant is not None:
        cure = f"Did you mean `{meant}`?"
    elif known:
        cure = f"Choose from {list(known)}."
    else:
        cure = "It has none: leave it out."
    return _unknown(call, name, cure)


def _unknown(call: str, name: str, cure: str) -> str:
    return f"`{call}` must be given arguments that it has. Received: {name}=... {cure}"
