"""Why a run goes to its end before its last cycle, read from what its journal holds alone.

A run that goes on after an interruption decides as it would have without.
"""

from __future__ import annotations

from math import isfinite
from statistics import median

from miha.records import Network
from miha.search.plan import Plan
from miha.storage.journal import Entry
from miha.storage.logbook import Logbook


def stop_reason(plan: Plan, log: Logbook, cycle: int, network: Network) -> str | None:
    """Return why a cycle is not begun, as a sentence; None where nothing speaks against it.

    Args:
        plan: What the run does.
        log: What has happened so far: the whole of the cycles before. Clones that were late
            are passed over: only their epochs count.
        cycle: 1 to c; c + 1 after the last one, when only the target can be reached.
        network: The network that the cycle would begin with.
    """
    reason = _target(plan, log)
    if reason is None and cycle <= plan.schedule.c:
        reason = _epochs(plan, log, cycle) or _patience(plan, log, cycle)
        reason = reason or _seconds(plan, log, cycle, network)
    return reason


def is_at_target(plan: Plan, log: Logbook) -> bool:
    """Tell whether a network of the run has reached the target."""
    best, target = log.best(plan.mode, counted=True), plan.budgets.target
    if best is None or target is None or not isfinite(best["value"]):
        return False
    return bool(best["value"] <= target if plan.mode == "min" else best["value"] >= target)


def _target(plan: Plan, log: Logbook) -> str | None:
    if not is_at_target(plan, log):
        return None
    best = log.best(plan.mode, counted=True) or {}
    return f"{plan.monitor} {best['value']:.5g} has reached target={plan.budgets.target:g}."


def _epochs(plan: Plan, log: Logbook, cycle: int) -> str | None:
    limit, m, most = plan.budgets.max_epochs, plan.schedule.m, plan.epochs_of_cycle
    if limit is None:
        return None
    # A clone that failed with an error does not tell how far it had come.
    trained = sum(len(e["epochs"]) or plan.schedule.n * bool(e["failure"]) for e in log.counted)
    # Late ones, whether they have come or not.
    trained += plan.schedule.n * sum(map(len, log.late.values()))
    if cycle <= plan.longest.c and trained + most + m <= limit:
        return None
    return (
        f"max_epochs={limit} has no room for another cycle: {trained} epochs are trained, a cycle "
        f"has {'at most ' if plan.crossover else ''}{most} and the last training {m}."
    )


def _patience(plan: Plan, log: Logbook, cycle: int) -> str | None:
    best, patience = log.best(plan.mode, counted=True), plan.budgets.patience
    if best is None or patience is None or cycle - 1 - (best["cycle"] or 0) < patience:
        return None
    return f"{plan.monitor} has not become better than {best['value']:.5g}: patience={patience}."


def _seconds(plan: Plan, log: Logbook, cycle: int, network: Network) -> str | None:
    limit, m = plan.budgets.max_seconds, plan.schedule.m
    if limit is None:
        return None
    pace = _pace(log, network.archive)
    before = [entry for entry in log.counted if entry["cycle"] == cycle - 1]
    next_cycle, last = plan.epochs_of_cycle * pace, m * pace
    if before:
        # A network with smaller batches than the one before makes a slower cycle.
        slower = max(1.0, pace / max(_pace(log, before[0]["parent"]), 1e-9))
        was = sum(map(seconds, before))
        next_cycle = min(slower * was, max(was, next_cycle))
    used = sum(map(seconds, log.counted))
    if used + next_cycle + last <= limit:
        return None
    return (
        f"max_seconds={limit:g} has no room for another cycle: {used:.3g} s are used, a cycle "
        f"takes about {next_cycle:.3g} s and the last training {last:.3g} s."
    )


def seconds(entry: Entry) -> float:
    """Return the wall time that a training has taken."""
    told = entry.get("seconds")
    return float(sum(e["seconds"] for e in entry["epochs"]) if told is None else told)


def _pace(log: Logbook, archive: str | None) -> float:
    """Return the seconds that an epoch of a network takes: the median, since the first compiles."""
    entries = {entry["archive"]: entry for entry in log.trainings}
    while not entries[archive]["epochs"]:  # Where k = 0, its clone's.
        archive = entries[archive]["parent"]
    return float(median(epoch["seconds"] for epoch in entries[archive]["epochs"]))
