"""Rests: where mutations are not worth their epochs, these go to the network itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from miha.records import Mode, Schedule, TrainingRecord, gain
from miha.search.plan import Plan
from miha.search.selection import CAUTION, find_control
from miha.storage.logbook import Logbook


def rests_around(
    cycle: int,
    was_worthwhile: Mapping[int, bool],
) -> range:
    """Return the rests in a row that a cycle belongs to; none where it has a population.

    In a rest the network trains alone, for all the epochs of its population. After a population
    that was not worthwhile, the next cycle is a rest; after a second one running, the next three,
    then seven, and so on. A network that mutations help has none, and one that is good already
    loses few epochs to them.

    Args:
        cycle: 1 to c.
        was_worthwhile: For each earlier cycle that had a population.
    """
    # Counted from the first cycle on: a run that was resumed comes to the same answer.
    failures_in_a_row = 0
    rests = range(0)
    for earlier in range(1, cycle):
        if earlier in rests:
            continue
        if was_worthwhile.get(earlier):
            failures_in_a_row = 0
        else:
            failures_in_a_row += 1
            rests = range(earlier + 1, earlier + 2**failures_in_a_row)
    return rests if cycle in rests else range(0)


def resting_cycles(log: Logbook, plan: Plan, cycle: int) -> range:
    """Return the rests in a row that a cycle of a run belongs to.

    Args:
        log: What has happened before it.
        plan: What the run does.
        cycle: 1 to c.
    """
    if not plan.search.rest:
        return range(0)
    return rests_around(cycle, worthwhile_cycles(log, plan.schedule, plan.mode))


def worthwhile_cycles(
    log: Logbook,
    schedule: Schedule,
    mode: Mode,
) -> dict[int, bool]:
    """Return, for each cycle that had a population, whether that was worth its epochs.

    Args:
        log: What has happened.
        schedule: How many epochs are left after a cycle. Where the run had fewer cycles when it
            decided what follows, those count.
        mode: Whether values are better small or large.
    """
    clones: dict[int, list[TrainingRecord]] = defaultdict(list)
    for record in log.trainings:
        if record.is_clone:
            clones[record.cycle or 0].append(record)
    found = {}
    for cycle, winner in log.winners.items():
        planned = schedule.with_cycles(log.planned_cycles(cycle + 1, schedule.c))
        found[cycle] = is_worthwhile(clones[cycle], winner, planned.epochs_left(cycle), mode)
    return found


def is_worthwhile(
    clones: Sequence[TrainingRecord],
    number: int | None,
    epochs_left: int,
    mode: Mode,
) -> bool:
    """Return whether a population was worth its epochs.

    It was where its winner, if it goes on to gain on the control at half the pace of its trial,
    gains more in the epochs left than the network would have gained, at the control's pace, in
    the epochs that the other clones took. It was, too, where the winner is a restart.

    Args:
        clones: The population.
        number: The selected clone's; None if all have lost.
        epochs_left: Epochs that the network will still train.
        mode: Whether values are better small or large.
    """
    winner = next((clone for clone in clones if clone.clone == number), None)
    if winner is None or winner.change.is_control:
        return False
    control = find_control(clones)
    if winner.change.is_restart:
        return True
    # Without a control, nobody knows what the network alone would have gained.
    if control is None or not math.isfinite(control.value):
        return True

    # A child of two clones is evaluated, not trained: its lead is that of their trial.
    trained = len(winner.epochs) or len(control.epochs)
    lead_per_epoch = gain(winner.value, control.value, mode) / trained
    promised = lead_per_epoch * epochs_left / CAUTION

    all_epochs = sum(len(clone.epochs) for clone in clones)
    other_epochs = all_epochs - len(control.epochs)
    forgone = other_epochs * _pace(control, mode)
    return promised > max(0.0, forgone)


def _pace(control: TrainingRecord, mode: Mode) -> float:
    """Return how much a control has gained an epoch; where that is unknown, nothing."""
    if control.start is None or not control.epochs:
        return 0.0
    return gain(control.value, control.start, mode) / len(control.epochs)
