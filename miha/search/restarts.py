"""Restarts: clones that begin with fresh weights and a genome that learns fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np

from miha.mutations import with_activations
from miha.options import Search
from miha.records import Change, Genome, Mode, TrainingRecord, is_better
from miha.search.ancestry import main_line
from miha.search.plan import Plan
from miha.space import Space

ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adamax")
"""Optimizers whose default learning rate suits most networks: a restart has few epochs."""

RATE = 0.001
"""Keras' default learning rate of all of these."""

AGES_AHEAD = 1.5
"""A restart is promising where it is better than the network was at so many times its age."""

RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")
"""Activations under which a deep network learns from its first epochs: they do not saturate."""

BATCH_SIZES = (32, 16, 64)


def has_restart(
    cycle: int,
    search: Search,
    mutants: int,
) -> bool:
    """Return whether the last clone of a cycle is a restart.

    Args:
        cycle: 1 to c.
        search: The policy: in how many cycles, from the first, there is one.
        mutants: Clones beside the control; one of them stays a mutant.
    """
    return cycle <= search.restarts and mutants > 1


def restarts_pay(
    records: Sequence[TrainingRecord],
    cycle: int,
    parent: TrainingRecord,
    plan: Plan,
) -> bool:
    """Return whether another restart is worth its epochs.

    It is where there was none yet, where one has won, or where one was promising.

    Args:
        records: The trainings of earlier cycles.
        cycle: The cycle to draw for.
        parent: The network.
        plan: What the run does.
    """
    restarts = [record for record in records if record.is_clone and record.change.is_restart]
    before = [restart for restart in restarts if (restart.cycle or 0) < cycle]
    line = main_line(records, parent)
    if not before or line[0].change.is_restart:
        return True
    values, losses = plan.values(line), training_losses(line)
    return any(is_promising(restart, values, plan.mode, losses) for restart in before)


def training_losses(records: Iterable[TrainingRecord]) -> list[float]:
    """Return the training loss after each epoch of some trainings; nan where none is logged."""
    epochs = (epoch for record in records for epoch in record.epochs)
    return [float(epoch.logs.get("loss", nan)) for epoch in epochs]


def is_promising(
    restart: TrainingRecord,
    values: Sequence[float],
    mode: Mode,
    losses: Sequence[float] = (),
) -> bool:
    """Return whether a restart learned clearly faster than the network did at its age.

    Args:
        restart: A clone that began with fresh weights.
        values: The monitored values of the network's epochs, from its first.
        mode: Whether they are better small or large.
        losses: Its training losses after the same epochs, of which the same must hold.
    """
    age = int(AGES_AHEAD * len(restart.epochs))
    at_that_age = values[:age]
    if not at_that_age or not isfinite(restart.value):
        return False
    loss = training_losses([restart])[-1]
    # A loss that is not logged, or not finite, says nothing against the restart.
    learned_more = all(not loss >= before for before in losses[:age])
    return learned_more and all(is_better(restart.value, value, mode) for value in at_that_age)


def draw_restart(
    parent: Genome,
    space: Space,
    cycle: int,
    rng: np.random.Generator,
) -> tuple[Genome, Change]:
    """Draw the genome of a restart: an adaptive optimizer, one rectifier for all layers.

    In the first cycle it is a textbook's: Adam at 0.001, relu and batches of 32, as far as the
    space has them and unless that is the network's own; else it is drawn.

    Args:
        parent: The genome of the network that the restart competes with.
        space: What each gene may become.
        cycle: 1 to c.
        rng: The only source of randomness.
    """
    optimizers = _known(ADAPTIVE, space.optimizers) or list(space.optimizers)
    batch_sizes = _batch_sizes(space) or [parent.batch_size]
    names = dict.fromkeys(name for names in space.slots.values() for name in names)
    activations = _known(RECTIFIERS, names) or list(names) or [""]

    # The first of each list is a textbook's.
    child = _restarted(parent, space, optimizers[0], batch_sizes[0], activations[0])
    if cycle > 1 or child == parent:
        optimizer = _drawn(optimizers, rng)
        batch_size = _drawn(batch_sizes, rng)
        child = _restarted(parent, space, optimizer, batch_size, _drawn(activations, rng))
    return child, Change("restart", f"fresh weights: {child}", "restart")


def _batch_sizes(space: Space) -> list[int]:
    low, high = space.batch_size
    fitting = [size for size in BATCH_SIZES if low <= size <= high]
    return [size for size in fitting if size % space.batch_multiple == 0]


def _known(
    wanted: Sequence[str],
    allowed: Iterable[str],
) -> list[str]:
    allowed = set(allowed)
    return [value for value in wanted if value in allowed]


def _drawn(
    values: Sequence[Any],
    rng: np.random.Generator,
) -> Any:
    return values[int(rng.integers(len(values)))]


def _restarted(
    parent: Genome,
    space: Space,
    optimizer: str,
    batch_size: int,
    activation: str,
) -> Genome:
    child = space.with_optimizer(parent, optimizer)
    child = child.replace(batch_size=batch_size)
    if optimizer in ADAPTIVE and child.learning_rate is not None:
        child = child.replace(learning_rate=space.bounded_rate(RATE))
    return with_activations(child, space, activation) if activation else child
