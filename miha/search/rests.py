"""Resting: where mutations do not pay, their epochs go to the network itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from miha.records import Mode, Schedule
from miha.search.ancestry import clones_by_cycle, stages
from miha.search.overtaking import CAUTION
from miha.storage.logbook import Logbook

Entry = Mapping[str, Any]


def is_rest(cycle: int, paid: Mapping[int, bool]) -> bool:
    """Tell whether a cycle trains the network alone, for all the epochs of its population.

    After a population that has not paid, the next cycle is a rest; after a second one running, the
    next three, then seven, and so on. A network that mutations help has none, and one that is good
    already loses few epochs to them.

    Args:
        cycle: 1 to c.
        paid: Whether it paid, for each earlier cycle that had a population.
    """
    streak = rest = 0
    for earlier in range(1, cycle):
        if rest:
            rest -= 1
        else:
            streak = 0 if paid.get(earlier) else streak + 1
            rest = 2**streak - 1
    return rest > 0


def payments(log: Logbook, schedule: Schedule, mode: Mode) -> dict[int, bool]:
    """Tell of each cycle that had a population whether that has paid.

    It has where its winner, if it goes on to gain on the unchanged control at half the pace of its
    trial, gains more in the epochs that are left than the network would have gained, at the
    control's pace, in the epochs that the other clones took; and where the winner began anew.

    Args:
        log: What has happened; clones that were late count with the epochs that they were to have.
        schedule: How many epochs are left after a cycle.
        mode: Whether values are better small or large.
    """
    clones, sign = clones_by_cycle(log.counted), 1 if mode == "min" else -1
    late = {cycle: len(numbers) * schedule.n for cycle, numbers in log.late.items()}
    return {
        cycle: _has_paid(
            clones.get(cycle, []), won, schedule.epochs_left(cycle), sign, late.get(cycle, 0)
        )
        for cycle, won in log.winners.items()
    }


def _has_paid(clones: Sequence[Entry], won: int | None, left: int, sign: int, late: int) -> bool:
    way = stages(clones, won)
    control = next((clone for clone in clones if clone["change"]["gene"] == "none"), None)
    if not way or all(stage["change"]["gene"] == "none" for stage in way):
        return False
    first = way[0]  # Of its stages, the one that was beside the control.
    is_anew = first["change"]["gene"] == "restart"
    if control is None or is_anew or not math.isfinite(control["value"]):
        return True
    gain = sign * float(control["value"] - first["value"]) / len(first["epochs"])
    others = late + sum(len(clone["epochs"]) for clone in clones) - len(control["epochs"])
    return gain * left / CAUTION > max(0.0, others * _pace(control, sign))


def _pace(control: Entry, sign: int) -> float:
    """Return how much a control has gained an epoch; where that is unknown, nothing."""
    if control["start"] is None or not control["epochs"]:
        return 0.0
    return sign * float(control["start"] - control["value"]) / len(control["epochs"])
