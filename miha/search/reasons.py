"""Why a clone was selected or not, why the network rests or goes back: phrases for people.

A phrase is made where the decision is, of what the decision read. It is journalled with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from miha.records import Mode, TrainingRecord, as_loss, gain

Reasons = dict[int, str]
"""The phrase of each clone of a cycle, by its number."""

NOT_WORTH_IT = "no mutation was worth its epochs"
LAST_LEFT = "no other clone competes with it"


def short(number: float) -> str:
    """Return a difference with two digits that count."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:g}"


def of_all(
    clones: Iterable[TrainingRecord],
    fittest: TrainingRecord | None,
    mode: Mode,
) -> Reasons:
    """Return why each clone is not selected: it has lost, or another one is fitter."""
    reasons: Reasons = {}
    for clone in clones:
        if clone.has_lost or fittest is None:
            text = _of_lost(clone)
        elif clone is fittest:
            text = "fittest"
        else:
            text = _less_fit(clone, fittest, mode)
        reasons[number(clone)] = text
    return reasons


def number(clone: TrainingRecord) -> int:
    """Return a clone's number."""
    return clone.clone or 0


def name_of(clone: TrainingRecord) -> str:
    """Return what a reason calls a clone of the same cycle."""
    return "the control" if clone.change.is_control else f"clone {clone.clone}"


def _of_lost(clone: TrainingRecord) -> str:
    return "failed" if clone.failure else "without a finite fitness"


def _less_fit(
    clone: TrainingRecord,
    fittest: TrainingRecord,
    mode: Mode,
) -> str:
    name = name_of(fittest)
    if clone.fitness == fittest.fitness:
        return f"as fit as {name}, which comes first"
    lead = gain(fittest.value, clone.value, mode)
    if lead > 0:
        return f"behind {name} by {short(lead)}"
    text = f"less fit than {name}"
    # The fittest may have a worse value, since fitness looks at the way to it as well.
    return f"{text}, though better by {short(-lead)}" if lead < 0 else text


def of_fittest(ranked: Sequence[TrainingRecord], mode: Mode) -> str:
    """Return why the fittest clone wins where nothing but fitness decides.

    Args:
        ranked: Those that compete, the fittest first.
        mode: Whether values are better small or large.
    """
    if len(ranked) == 1:
        return LAST_LEFT
    fittest, second = ranked[:2]
    lead = gain(fittest.value, second.value, mode)
    if lead < 0:
        return f"fittest, though behind {name_of(second)} by {short(-lead)}"
    return f"fittest by {short(lead)}" if lead else "fittest"


def of_lead(
    lead: float,
    rival: str,
    noise: str,
) -> str:
    """Return why a clone wins that is better than another one by the margin.

    Args:
        lead: By how much it is better.
        rival: What the other one is called.
        noise: The margin in words; empty where there is none.
    """
    if lead < 0:
        return f"though behind {rival} by {short(-lead)}"
    if lead == 0:
        return f"as good as {rival}"
    than_noise = f", more than {noise}" if noise else ""
    return f"ahead of {rival} by {short(lead)}{than_noise}"


def of_too_small_lead(
    lead: float,
    rival: str,
    noise: str,
) -> str:
    """Return why a clone does not win that is not better than another one by the margin."""
    if lead > 0:
        return f"within {noise} of {rival}"
    return f"behind {rival} by {short(-lead)}" if lead < 0 else f"no better than {rival}"


def of_control_kept(
    lead: float,
    fittest: TrainingRecord,
    noise: str,
) -> str:
    """Return why the control wins though another clone is fitter."""
    name = f"the fittest, clone {fittest.clone},"
    if lead > 0:
        return f"{name} is within {noise} of it"
    return f"{name} is behind it by {short(-lead)}" if lead < 0 else f"{name} is no better"


def margin_in_words(margin: float, times: float) -> str:
    """Return a margin as the noise that it is; empty where there is none."""
    if not margin:
        return ""
    noise = f"noise {short(margin / times)}"
    return noise if times == 1 else f"{times:g} x {noise}"


def of_overtaking(
    restart: TrainingRecord,
    values: Sequence[float],
    mode: Mode,
) -> str:
    """Return why a restart is expected to overtake the network.

    Args:
        restart: The clone with fresh weights.
        values: The network's monitored values, from its first epoch to the control's last.
        mode: Whether values are better small or large.
    """
    value = f"{restart.value:.4g}"
    finite = [found for found in values if math.isfinite(found)]
    if not finite:
        return f"{value}, where the network has failed"
    best = min(finite, key=lambda found: as_loss(found, mode))
    if as_loss(best, mode) > as_loss(restart.value, mode):
        return f"better than the network ever was: {value} against {best:.4g}"
    age = len(restart.epochs)
    return f"ahead at equal age: {value} against {values[age - 1]:.4g} after {_epochs(age)}"


def of_no_overtaking(epochs_left: int) -> str:
    """Return why a restart does not win."""
    if epochs_left == 0:
        return "no epochs are left to overtake in"
    return f"will not overtake in the {_epochs(epochs_left)} left"


def of_overtaken(restart: TrainingRecord) -> str:
    """Return why a clone does not win where a restart does."""
    return f"clone {restart.clone} will overtake"


def selection_line(
    cycle: int,
    winner: TrainingRecord | None,
    reason: str,
    monitor: str,
) -> str:
    """Return who won a cycle, and why, as a line."""
    if winner is None:
        return f"Cycle {cycle}: every clone has failed; the network goes on unchanged"
    name = "the control" if winner.change.is_control else winner.change.text
    return f"Cycle {cycle}: {name} wins ({monitor} {winner.value:.4g}): {reason}"


def rest_line(
    cycle: int,
    rests: range,
    epochs: int,
) -> str:
    """Return that the network trains alone for a cycle, and why, as a line."""
    place = f" (rest {rests.index(cycle) + 1} of {len(rests)})" if len(rests) > 1 else ""
    return f"Cycle {cycle}: {NOT_WORTH_IT}, {_epochs(epochs)} of the network alone{place}"


def of_return(
    network: TrainingRecord,
    best: TrainingRecord,
    monitor: str,
    share: float | None,
) -> str:
    """Return why the run goes back to its best network."""
    if not math.isfinite(network.value):
        return f"the network has diverged; {monitor} was {best.value:.4g}"
    return (
        f"{monitor} {network.value:.4g} is by more than {100 * (share or 0.0):g} % "
        f"worse than {best.value:.4g}"
    )


def return_line(
    cycle: int,
    best: TrainingRecord,
    reason: str,
) -> str:
    """Return that the run goes back to its best network, and why, as a line."""
    return f"After cycle {cycle}: back to the best network, {best.archive}: {reason}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
