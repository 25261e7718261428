"""Which name was meant by one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """Return the known name that is most like another, whatever its case; None: none is."""
    names: dict[str, str] = {}
    for one in known:
        names.setdefault(_plain(one), one)
    found = get_close_matches(_plain(str(name)), list(names), n=1)
    return names[found[0]] if found else None


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return a sentence that begins with a space and names the nearest name; empty: there is none.

    It stands between the value that was received and the cure.
    """
    found = nearest(name, known)
    return "" if found is None else f" Did you mean {found!r}?"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
