"""Judging: the fittest clone wins a cycle, unless the control or a restart displaces it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from miha.records import Network
from miha.search.acceptance import WINDOW, accepted, noise
from miha.search.fitness import LOSES
from miha.search.overtaking import is_in_vain, overtakes
from miha.search.plan import Plan


class Apart:
    """The control and the restart of a population, noted as they pass by.

    Attributes:
        control: The unchanged clone; None where there is none.
        restart: The clone that began anew; None where there is none.
    """

    def __init__(self) -> None:
        self.control: Network | None = None
        self.restart: Network | None = None

    def watch(self, clones: Iterable[Network]) -> Iterator[Network]:
        """Yield clones as they come."""
        for clone in clones:
            gene = clone.task.change.gene
            self.control = clone if gene == "none" else self.control
            self.restart = clone if gene == "restart" else self.restart
            yield clone


def judged(
    ranked: list[Network], apart: Apart, life: Sequence[float], age: int, plan: Plan, cycle: int
) -> list[Network]:
    """Return the fittest clones, with the control or a restart before them where that is due.

    Where there is a control, a restart wins if it is expected to overtake the network, and by its
    fitness only against a network that has trained in vain: a fresh network often has a lower
    validation loss than one that overfits, and knows less.

    Args:
        ranked: The fittest clones, the best first.
        apart: The control and the restart among all clones.
        life: The network's values since it last began anew, to the control's last.
        age: Epochs that the restart has trained.
        plan: What the run does.
        cycle: 1 to c.
    """
    control, restart = apart.control, apart.restart
    others = [clone for clone in ranked if clone is not restart]
    if control is None or not others:
        return ranked
    has_failed = not math.isfinite(control.value)
    competing = ranked if has_failed or is_in_vain(life, plan.mode) else others
    if plan.margin:
        bar = plan.margin * noise(life[-WINDOW:])
        competing = accepted(competing, control, bar, plan.mode)
    if restart is None or not is_ahead(restart, life, age, plan, cycle):
        return competing
    return [restart, *(clone for clone in competing if clone is not restart)]


def is_ahead(
    restart: Network | None, life: Sequence[float], age: int, plan: Plan, cycle: int
) -> bool:
    """Tell whether a restart has not lost, and is expected to overtake the network.

    Args:
        restart: The clone that began anew, if there is one.
        life: The network's values since it last began anew, to the control's last.
        age: Epochs that the restart has trained.
        plan: What the run does.
        cycle: 1 to c.
    """
    if restart is None or restart.fitness is None or restart.fitness <= LOSES:
        return False
    left = plan.longest.epochs_left(cycle)
    return overtakes(life, restart.value, age, left, plan.mode)
