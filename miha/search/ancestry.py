"""What a network went through, as the journal tells it: a clone may go on from another one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from miha.records import Network

Entry = Mapping[str, Any]


def stages(clones: Iterable[Entry], number: int | None) -> list[Entry]:
    """Return the trainings of its cycle that a clone has gone through, the first one first.

    In a race, and where clones join, one goes on from another.

    Args:
        clones: The journal's entries of one cycle's clones.
        number: The clone's; None or an unknown one has none.
    """
    clones = list(clones)
    found = next((clone for clone in clones if clone["clone"] == number), None)
    way: list[Entry] = []
    while found is not None and found not in way:
        way.insert(0, found)
        name = _parent(found)
        found = next((c for c in clones if name is not None and c["archive"] == name), None)
    return way


def _parent(entry: Entry) -> Any:
    """Return the archive whose epochs a training goes on from, the first one of two."""
    parent = entry["parent"]
    return parent[0] if isinstance(parent, list) else parent


def begun(clones: Iterable[Entry]) -> list[Entry]:
    """Return those of one cycle's clones that went on from the network, not from another clone."""
    clones = list(clones)
    names = {clone["archive"] for clone in clones if clone["archive"] is not None}
    return [clone for clone in clones if _parent(clone) not in names]


def epochs_of(clones: Iterable[Entry], clone: Network | None) -> list[Mapping[str, Any]]:
    """Return what was logged after each epoch of a clone, in all its stages.

    Args:
        clones: The journal's entries of its cycle's clones.
        clone: None has none.
    """
    way = stages(clones, None if clone is None else clone.task.clone)
    return [epoch for stage in way for epoch in stage["epochs"]]


def clones_by_cycle(trainings: Iterable[Entry]) -> dict[int, list[Entry]]:
    """Return the journal's entries of each cycle's clones."""
    cycles: dict[int, list[Entry]] = defaultdict(list)
    for entry in trainings:
        if entry["phase"] == "clone":
            cycles[entry["cycle"]].append(entry)
    return cycles


def life(
    trainings: Sequence[Entry], winners: Mapping[int, int | None], cycle: int
) -> list[Mapping[str, Any]]:
    """Return the values of the network's own epochs before a cycle, since it last began anew.

    Clones that lost do not count, nor do the epochs of networks that a restart has replaced.

    Args:
        trainings: The journal's entries.
        winners: The selected clone of each cycle.
        cycle: 1 to c; entries of it and of later ones do not count.
    """
    clones, epochs = clones_by_cycle(trainings), list[Mapping[str, Any]]()
    for entry in trainings:
        at, is_clone = entry["cycle"], entry["phase"] == "clone"
        is_before = entry["phase"] == "initial" or (at is not None and at < cycle)
        if not is_before or (is_clone and winners.get(at) != entry["clone"]):
            continue
        way = stages(clones[at], entry["clone"]) if is_clone else [entry]
        if way[0]["change"]["transition"] == "restart":
            epochs = []
        epochs += [epoch for stage in way for epoch in stage["epochs"]]
    return epochs
