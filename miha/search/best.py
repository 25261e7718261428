"""Which network of a run is the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite

from miha.records import Judge, Mode, TrainingRecord, as_loss
from miha.search.ancestry import main_line
from miha.search.selection import noise

NOISES = 2.0
"""Networks whose values differ by less than so many times the noise are equally good."""


def best_network(
    records: Sequence[TrainingRecord],
    judge: Judge,
) -> TrainingRecord | None:
    """Return the best network of a run: of those that are equally good, the latest.

    One validation value goes up and down from epoch to epoch. Of many networks, the one with the
    best value is often one that was lucky. The latest has learned the longest, at a learning
    rate that has fallen. One that was trained on the validation data, too, is taken as it is.

    Args:
        records: The run's trainings, in their order.
        judge: What the best one is the best in.

    Returns:
        None where no network has a finite value.
    """
    alive = [record for record in records if isfinite(judge.value(record))]
    if not alive:
        return None
    if alive[-1].has_seen_validation:
        # Nothing can be compared with it any more.
        return alive[-1]
    best = min(alive, key=lambda record: as_loss(judge.value(record), judge.mode))
    line = main_line(records, alive[-1])
    values = [epoch.value(judge.name) for record in line for epoch in record.epochs]
    worst = as_loss(judge.value(best), judge.mode) + NOISES * noise(values)
    for record in reversed(alive):
        if as_loss(judge.value(record), judge.mode) <= worst:
            return record
    return best


def may_become_best(
    records: Sequence[TrainingRecord],
    judge: Judge,
) -> list[TrainingRecord]:
    """Return the networks that may be the best of the run, whatever is trained after them.

    Args:
        records: The run's trainings so far, in their order.
        judge: What the best one is the best in.

    Returns:
        Those that no later network equals or surpasses, the latest first.
    """
    # Be B later than A, and at least as good. `best_network` takes the latest network whose value
    # is within a bound. Where A is within it, B is, and comes first. So A is never taken, however
    # large the noise becomes, and whatever the best value will be. Every other network is taken at
    # a noise for which the bound is its own value.
    found: list[TrainingRecord] = []
    least = inf
    for record in reversed(records):
        loss = as_loss(judge.value(record), judge.mode)
        if isfinite(loss) and loss < least:
            found.append(record)
            least = loss
    return found


def choose_judge(
    monitor: str | None,
    default: Judge,
    metrics: Mapping[str, Mode | None],
) -> Judge:
    """Return what the best network is the best in.

    It is what the user monitors. Where the user names nothing, it is the first metric that the
    network was compiled with, on validation data: a loss may rise while accuracy does, too.

    Args:
        monitor: What the user monitors, or None.
        default: What clones are compared by.
        metrics: The logged values, and the directions in which they are better.
    """
    if monitor is not None:
        return default
    for name, mode in metrics.items():
        if name.startswith("val_") and not name.endswith("loss") and mode is not None:
            return Judge(name, mode)
    return default
