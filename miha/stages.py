"""The stages of a clone: it may go on from another one of its cycle, when it races or joins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Entry = Mapping[str, Any]


def stages(clones: Iterable[Entry], number: int | None) -> list[Entry]:
    """Return the trainings of its cycle that a clone has gone through, the first one first.

    Args:
        clones: The journal's entries of one cycle's clones.
        number: The clone's; None or an unknown one has none.
    """
    clones = list(clones)
    found = next((clone for clone in clones if clone["clone"] == number), None)
    way: list[Entry] = []
    while found is not None and found not in way:
        way.insert(0, found)
        parent = found["parent"]
        name = parent[0] if isinstance(parent, list) else parent
        found = next((c for c in clones if name is not None and c["archive"] == name), None)
    return way
