"""Why a run goes to its end before its last cycle, read from what its journal says alone.

A run that goes on after an interruption decides as it would have without.
"""

from __future__ import annotations

from math import isfinite
from statistics import median

from miha.records import TrainingRecord, as_loss
from miha.search.ancestry import ancestors
from miha.search.plan import Plan
from miha.storage.logbook import Logbook


def stop_reason(
    plan: Plan,
    log: Logbook,
    cycle: int,
    network: TrainingRecord,
) -> str | None:
    """Return why a cycle does not begin, as a sentence; None where nothing speaks against it.

    Args:
        plan: What the run does.
        log: What has happened so far: the whole of the cycles before.
        cycle: 1 to c; c + 1 after the last one, when only the target can be reached.
        network: The network that the cycle would begin with.
    """
    if has_reached_target(plan, log):
        return _target_reason(plan, log)
    if cycle > plan.schedule.c:
        return None
    return _patience_reason(plan, log, cycle) or _seconds_reason(plan, log, cycle, network)


def has_reached_target(plan: Plan, log: Logbook) -> bool:
    """Return whether a network of the run has reached the target."""
    target = plan.budget.target
    best = log.best(plan.mode)
    if target is None or best is None or not isfinite(best.value):
        return False
    return as_loss(best.value, plan.mode) <= as_loss(target, plan.mode)


def _target_reason(
    plan: Plan,
    log: Logbook,
) -> str | None:
    best = log.best(plan.mode)
    if best is None:
        return None
    return f"{plan.monitor} {best.value:.5g} has reached target={plan.budget.target:g}."


def _patience_reason(
    plan: Plan,
    log: Logbook,
    cycle: int,
) -> str | None:
    patience = plan.budget.patience
    best = log.best(plan.mode)
    if patience is None or best is None:
        return None
    # The best may be of the first training, which has no cycle.
    cycles_without = cycle - 1 - (best.cycle or 0)
    if cycles_without < patience:
        return None
    return f"{plan.monitor} has not become better than {best.value:.5g}: patience={patience}."


def _seconds_reason(
    plan: Plan,
    log: Logbook,
    cycle: int,
    network: TrainingRecord,
) -> str | None:
    limit = plan.budget.seconds
    if limit is None:
        return None
    pace = _seconds_per_epoch(log, network)
    last_training = plan.schedule.m * pace
    next_cycle = plan.schedule.epochs_of_cycle * pace
    before = log.trainings.of_cycle(cycle - 1)
    if before:
        # A network with smaller batches than the one before makes a slower cycle.
        parent = log.trainings.find(before[0].parent) or network
        slowdown = max(1.0, pace / max(_seconds_per_epoch(log, parent), 1e-9))
        last_cycle = sum(record.wall_seconds for record in before)
        next_cycle = min(slowdown * last_cycle, max(last_cycle, next_cycle))

    # All processes of the run count: the journal has the seconds of each training.
    trained = [*log.trainings, *log.set_aside_before(cycle)]
    used = sum(record.wall_seconds for record in trained)
    if used + next_cycle + last_training <= limit:
        return None
    return (
        f"seconds={limit:g} has no room for another cycle: {used:.3g} s are used, a cycle takes "
        f"about {next_cycle:.3g} s and the last training {last_training:.3g} s."
    )


def _seconds_per_epoch(log: Logbook, record: TrainingRecord) -> float:
    """Return the seconds that an epoch of a network takes: the median, since the first compiles."""
    # Where k = 0, the network has the pace of the clone that it was.
    line = ancestors(log.trainings, record)
    epochs = next(ancestor.epochs for ancestor in line if ancestor.epochs)
    return float(median(epoch.seconds for epoch in epochs))
