"""Judging: the fittest clone wins a cycle, unless the control or a restart displaces it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from miha.acceptance import WINDOW, accepted, noise
from miha.overtaking import is_in_vain, overtakes
from miha.plan import Plan
from miha.records import Network


class Apart:
    """The control and the restart of a population, noted as they pass by."""

    def __init__(self) -> None:
        self._stages: dict[str, list[Network]] = {"none": [], "restart": []}

    def watch(self, clones: Iterable[Network]) -> Iterator[Network]:
        """Yield clones as they come."""
        for clone in clones:
            if clone.task.change.gene in self._stages:
                self._stages[clone.task.change.gene].append(clone)
            yield clone

    @property
    def control(self) -> Network | None:
        """The unchanged clone, after its last training."""
        return next(reversed(self._stages["none"]), None)

    @property
    def restart(self) -> Network | None:
        """The clone that began anew, after its last training."""
        return next(reversed(self._stages["restart"]), None)

    @property
    def age(self) -> int:
        """Epochs that the restart has trained."""
        return sum(len(stage.epochs) for stage in self._stages["restart"])


def judged(
    ranked: list[Network], apart: Apart, life: Sequence[float], plan: Plan, cycle: int
) -> list[Network]:
    """Return the fittest clones, with the control or a restart before them where that is due.

    Where there is a control, a restart wins if it is expected to overtake the network, and by its
    fitness only against a network that has trained in vain: a fresh network often has a lower
    validation loss than one that overfits, and knows less.

    Args:
        ranked: The fittest clones, the best first.
        apart: The control and the restart among all clones.
        life: The network's values since it last began anew, to the control's last.
        plan: What the run does.
        cycle: 1 to c.
    """
    control, restart = apart.control, apart.restart
    others = [clone for clone in ranked if clone is not restart]
    if control is None or not others:
        return ranked
    competing = ranked if is_in_vain(life, plan.mode) else others
    if plan.margin:
        bar = plan.margin * noise(life[-WINDOW:])
        competing = accepted(competing, control, bar, plan.mode)
    left = plan.schedule.epochs_left(cycle)
    if restart is None or not math.isfinite(restart.value):
        return competing
    if not overtakes(life, restart.value, apart.age, left, plan.mode):
        return competing
    return [restart, *(clone for clone in competing if clone is not restart)]
