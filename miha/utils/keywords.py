"""Clear errors for keyword arguments that do not exist, or no longer do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from miha.errors import ArgumentError

Class = TypeVar("Class", bound=type)


def explains_keywords(
    call: str,
    replaced: Mapping[str, str] | None = None,
) -> Callable[[Class], Class]:
    """Return a class decorator that explains unknown keyword arguments of the constructor.

    Args:
        call: What the user writes, e.g. ``"miha.Search"``.
        replaced: The new spelling of each old keyword.
    """

    def decorate(decorated: Class) -> Class:
        construct: Callable[..., None] = vars(decorated)["__init__"]
        known = [name for name in inspect.signature(construct).parameters if name != "self"]

        @functools.wraps(construct)
        def checked(
            self: Any,
            *args: Any,
            **kwargs: Any,
        ) -> None:
            for name in kwargs:
                if name not in known:
                    raise ArgumentError(_explanation(call, name, known, replaced or {}))
            construct(self, *args, **kwargs)

        setattr(decorated, "__init__", checked)  # noqa: B010  # mypy refuses the assignment
        return decorated

    return decorate


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
    nearest = get_close_matches(name, [*known, *replaced], n=1)
    if nearest and nearest[0] in replaced:
        cure = f"{replaced[nearest[0]]}"
    elif nearest:
        cure = f"Did you mean `{nearest[0]}`?"
    else:
        cure = f"Choose from {list(known)}."
    return f"`{call}` must be given arguments that it has. Received: {name}=... {cure}"
