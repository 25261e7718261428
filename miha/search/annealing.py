"""Annealing: how the learning rate falls once there is nothing more to search."""

from __future__ import annotations

import math

from miha.records import Schedule
from miha.search.plan import Plan

LONGEST = 0.3
"""The largest share of a run's epochs in which the learning rate falls."""


def cosine(epochs: int) -> tuple[float, ...]:
    """Return the factor of the learning rate in each epoch: from 1, along a cosine, to near 0.

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts"
    (2017), equation 5, without restarts.

    Args:
        epochs: How many.
    """
    return tuple(_factor(epoch, epochs) for epoch in range(epochs))


def rates(
    cycle: int,
    rests: range,
    plan: Plan,
) -> tuple[float, ...]:
    """Return the factors of the learning rate in a rest, or in the last training.

    From the first of the rests after which no population follows, one cosine goes to the end of
    the run. It is at most three tenths of the run long: before that, the rate is constant.

    Args:
        cycle: The cycle that rests; c + 1 stands for the last m epochs.
        rests: The rests in a row before the end, or around the cycle.
        plan: What the run does.

    Returns:
        A factor for each epoch; none where the rate stays.
    """
    schedule = plan.schedule
    is_last = cycle > schedule.c
    if not plan.search.anneal:
        return ()
    if is_last and not rests:
        return cosine(schedule.m)
    # A population follows after these rests.
    if rests.stop <= schedule.c:
        return ()

    epochs = schedule.m if is_last else schedule.epochs_of_cycle
    limit = max(schedule.m, int(LONGEST * schedule.epochs))
    length = min(_epochs_to_the_end(rests.start, schedule), limit)
    begin = length - _epochs_to_the_end(cycle, schedule)
    return tuple(_factor(max(0, begin + epoch), length) for epoch in range(epochs))


def _epochs_to_the_end(cycle: int, schedule: Schedule) -> int:
    """Return the epochs from the beginning of a cycle to the end of the run."""
    cycles = schedule.c + 1 - cycle
    return cycles * schedule.epochs_of_cycle + schedule.m


def _factor(epoch: int, epochs: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
