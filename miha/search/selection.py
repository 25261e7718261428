"""Selection: which clone of a cycle wins, and when the run goes back to an older network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miha.records import Mode, TrainingRecord, as_loss, gain, is_better
from miha.search import reasons
from miha.search.plan import Plan
from miha.search.reasons import Reasons
from miha.search.restarts import training_losses

WINDOW = 8
"""Epochs of the network's past that tell its noise: before them it learned in another way."""

CAUTION = 2.0
"""A clone's lead is divided by this before it is believed: it is largest at the beginning."""


@dataclass(frozen=True)
class Selection:
    """The clone that wins a cycle, and why.

    Attributes:
        winner: None if all clones have lost.
        reasons: Why each clone was selected or not, a phrase by its number.
    """

    winner: TrainingRecord | None
    reasons: Reasons

    @property
    def reason(self) -> str:
        """Why the winner was selected."""
        if self.winner is None:
            return "every clone has lost"
        return self.reasons[reasons.number(self.winner)]

    @property
    def allows_child(self) -> bool:
        """Whether the child of two clones may win instead: no restart has won."""
        return self.winner is not None and not self.winner.change.is_restart

    def but(self, winner: TrainingRecord | None, phrases: Reasons) -> Selection:
        """Return a selection with another winner, and other reasons for some clones."""
        return Selection(winner, self.reasons | phrases)


def select(
    clones: Sequence[TrainingRecord],
    plan: Plan,
    past: Sequence[float],
    cycle: int,
    losses: Sequence[float] = (),
) -> Selection:
    """Select the clone that wins a cycle.

    The fittest wins. Where there is a control, three rules stand above that, in this order:

    1. A restart that will overtake the network wins.
    2. Any other restart competes by its fitness only where the network has not improved: a fresh
       network often has a lower validation loss than one that overfits, and knows less.
    3. The fittest of those left wins if its monitored value is better than the control's by the
       margin; else the control wins. The second fittest is not tried.

    Args:
        clones: All clones of the cycle.
        plan: What the run does.
        past: The monitored values of the network since it last began, before this cycle.
        cycle: 1 to c.
        losses: The training losses of the same epochs.

    Returns:
        The winner, None if all clones have lost, and why.
    """
    ranked = rank(clones)
    control = find_control(clones)
    restart = find_restart(clones)
    others = [clone for clone in ranked if clone is not restart]
    if control is None or not others:
        return _fittest(clones, ranked, plan)

    # The control is the network itself, n epochs later: its values go on from the network's.
    values = [*past, *control.values(plan.monitor)]
    trained = [*losses, *training_losses([control])] if losses else []
    epochs_left = plan.schedule.epochs_left(cycle)
    if restart in ranked and will_overtake(restart, values, epochs_left, plan, trained):
        return _overtaking(clones, restart, values, plan)

    has_failed = not math.isfinite(control.value)
    if has_failed or is_worse_than_at_first(values, plan.mode):
        return _beyond_margin(clones, ranked, control, values, plan)
    selection = _beyond_margin(clones, others, control, values, plan)
    if restart in ranked:
        lost = {reasons.number(restart): reasons.of_no_overtaking(epochs_left)}
        return selection.but(selection.winner, lost)
    return selection


def _fittest(
    clones: Sequence[TrainingRecord],
    ranked: Sequence[TrainingRecord],
    plan: Plan,
) -> Selection:
    """Select the fittest clone, if any is left."""
    winner = ranked[0] if ranked else None
    selection = Selection(winner, reasons.of_all(clones, winner, plan.mode))
    if winner is None:
        return selection
    return selection.but(winner, {reasons.number(winner): reasons.of_fittest(ranked, plan.mode)})


def _overtaking(
    clones: Sequence[TrainingRecord],
    restart: TrainingRecord,
    values: Sequence[float],
    plan: Plan,
) -> Selection:
    """Select a restart that will overtake the network."""
    phrases = reasons.of_all(clones, None, plan.mode)
    for clone in rank(clones):
        phrases[reasons.number(clone)] = reasons.of_overtaken(restart)
    phrases[reasons.number(restart)] = reasons.of_overtaking(restart, values, plan.mode)
    return Selection(restart, phrases)


def rank(
    clones: Sequence[TrainingRecord],
) -> list[TrainingRecord]:
    """Return the clones that have not lost, the fittest first; of equals, the lower number."""
    alive = [clone for clone in clones if not clone.has_lost]
    by_number = sorted(alive, key=lambda clone: clone.clone or 0)
    # Sorting keeps the order of equals.
    return sorted(by_number, key=lambda clone: clone.fitness or 0.0, reverse=True)


def find_control(clones: Sequence[TrainingRecord]) -> TrainingRecord | None:
    """Return the unchanged clone of a population, if there is one."""
    return next((clone for clone in clones if clone.change.is_control), None)


def find_restart(clones: Sequence[TrainingRecord]) -> TrainingRecord | None:
    """Return the restart of a population, if there is one."""
    return next((clone for clone in clones if clone.change.is_restart), None)


def contenders(
    clones: Sequence[TrainingRecord],
) -> list[TrainingRecord]:
    """Return the clones that can still win: control, restart and the two fittest mutants."""
    special = [find_control(clones), find_restart(clones)]
    found = [clone for clone in special if clone is not None]
    mutants = [clone for clone in rank(clones) if clone not in found]
    return found + mutants[:2]


def _beyond_margin(
    clones: Sequence[TrainingRecord],
    competing: Sequence[TrainingRecord],
    control: TrainingRecord,
    values: Sequence[float],
    plan: Plan,
) -> Selection:
    """Select the fittest clone, or the control where that is not better by the margin."""
    fittest = competing[0]
    selection = _fittest(clones, competing, plan)
    if fittest is control:
        return selection
    number = reasons.number(fittest)
    if not math.isfinite(control.value):
        return selection.but(fittest, {number: "fittest; the control has failed"})

    lead = gain(fittest.value, control.value, plan.mode)
    bound = margin(values, plan)
    noise = reasons.margin_in_words(bound, plan.search.margin)
    if lead > bound or not plan.search.margin:
        text = reasons.of_lead(lead, "the control", noise)
        return selection.but(fittest, {number: f"fittest, {text}"})
    kept = reasons.of_control_kept(lead, fittest, noise)
    left = reasons.of_too_small_lead(lead, "the control", noise)
    return selection.but(control, {reasons.number(control): kept, number: left})


def margin(
    values: Sequence[float],
    plan: Plan,
) -> float:
    """Return by how much a clone must be better than the control.

    Args:
        values: The network's monitored values up to now.
        plan: What the run does.
    """
    return plan.search.margin * noise(values[-WINDOW:])


def noise(values: Sequence[float]) -> float:
    """Estimate how much a value of one epoch goes up and down, its trend aside.

    The median of the second differences' absolute values, divided by what it is for independent
    normal values of deviation one. A second difference is free of a steady trend. The median is
    free of the few that a bend or a leap spoils.

    Args:
        values: Of consecutive epochs; fewer than three second differences tell nothing: 0.
    """
    finite = [value for value in values if math.isfinite(value)]
    second_differences = np.abs(np.diff(finite, 2))
    if len(second_differences) < 3:
        return 0.0
    return float(np.median(second_differences) / (0.6745 * math.sqrt(6)))


def will_overtake(
    restart: TrainingRecord,
    values: Sequence[float],
    epochs_left: int,
    plan: Plan,
    losses: Sequence[float] = (),
) -> bool:
    """Return whether a restart is expected to overtake the network in the epochs left.

    After so few epochs it is seldom better than a network that has trained for many. But where it
    is already as good as the network was at several times its age, it learns as many times
    faster. It is taken where half of that pace, to the end, would bring it further, and where the
    network was never as good. The restart's value is taken to be worse by the margin than it is:
    where a network's first values only go up and down, a lucky one tells of no pace.

    A pace is believed where the training loss tells of it, too. The first validation losses of a
    network with BatchNormalization are those of running statistics that are not its own yet.

    Args:
        restart: The clone with fresh weights.
        values: The network's monitored values, from its first epoch to the control's last.
        epochs_left: Epochs that the network will still train.
        plan: What the run does.
        losses: The network's training losses after the same epochs; without them, the monitored
            values decide alone.
    """
    wanted = as_loss(restart.value, plan.mode) + margin(values, plan)
    reached = _age_when_as_good(wanted, [as_loss(value, plan.mode) for value in values])
    if reached == math.inf:
        return True
    loss = training_losses([restart])[-1]
    reached = min(reached, _age_when_as_good(loss, losses) if losses else math.inf)
    pace = reached / len(restart.epochs) / CAUTION
    return reached + epochs_left * pace > len(values) + epochs_left


def _age_when_as_good(
    wanted: float,
    values: Sequence[float],
) -> float:
    """Return the age at which a network was first as good; infinity where it never was."""
    ages = (age for age, value in enumerate(values, start=1) if value <= wanted)
    return next(ages, math.inf)


def is_worse_than_at_first(
    values: Sequence[float],
    mode: Mode,
) -> bool:
    """Return whether a network is worse than it was after its first epoch, or has diverged."""
    first = next(filter(math.isfinite, values), None)
    if first is None:
        return True
    return not as_loss(values[-1], mode) <= as_loss(first, mode)


def network_to_go_on_from(
    network: TrainingRecord, best: TrainingRecord, plan: Plan
) -> TrainingRecord:
    """Return the network, or the best one of the run where the network is clearly worse.

    This works against the greed of short trials, which V. Dalibard and M. Jaderberg describe in
    "Faster Improvement Rate Population Based Training" (2021).

    Args:
        network: The present one.
        best: The best of the main line so far.
        plan: What the run does.
    """
    share = plan.search.backtrack
    if share is None or not is_better(best.value, network.value, plan.mode):
        return network
    if not math.isfinite(network.value):
        return best
    gap = gain(best.value, network.value, plan.mode)
    return best if gap > share * abs(best.value) else network
