"""Who is in a population: the control, the mutants, and in the first cycles a restart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from miha.bandit import Entry, learned_weights, learned_welcome, tried
from miha.mutations import Learned, distinct_mutants, with_activations
from miha.randomness import generator
from miha.records import UNCHANGED, Change, Genome
from miha.search.plan import Plan
from miha.space import Space

Mutant = tuple[Genome, Change]

ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adamax")
"""Optimizers whose default learning rate suits most networks: a restart has few epochs."""

RATE = 0.001
"""Keras' default learning rate of all of these."""

RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")
"""Activations under which a deep network learns from its first epochs: they do not saturate."""

BATCH_SIZES = (32, 16, 64)


def population(
    plan: Plan, genome: Genome, space: Space, cycle: int, trainings: Sequence[Entry]
) -> list[Mutant]:
    """Return genome and change of each clone of a cycle, the control first.

    Args:
        plan: What the run does.
        genome: That of the network that the clones are made of.
        space: What each gene may become.
        cycle: 1 to c.
        trainings: The journal's entries of earlier cycles.
    """
    learned = Learned(tried=tried(trainings, genome, cycle))
    if plan.adaptive:
        weights = learned_weights(plan.mutations, trainings, cycle)
        learned = Learned(weights, learned_welcome(trainings, genome, cycle), learned.tried)
    first, size = int(plan.control), plan.candidates
    rng = generator(plan.seed, "clone", cycle, 0, "operators")
    places = [generator(plan.seed, "clone", cycle, i, "mutation") for i in range(first, size)]
    mutants = distinct_mutants(genome, plan.mutations, space, rng, places, learned)
    if cycle <= plan.restarts and len(places) > 1:
        mutants[-1] = restarted(genome, space, cycle, places[-1])
    return [(genome, UNCHANGED)] * first + mutants


def restarted(parent: Genome, space: Space, cycle: int, rng: np.random.Generator) -> Mutant:
    """Return a genome to begin anew with: an adaptive optimizer, one rectifier for all layers.

    In the first cycle it is what a textbook begins with, Adam at 0.001, relu and batches of 32, as
    far as the space holds them and unless the network begins so itself; else it is drawn.

    Args:
        parent: The genome of the network that does not begin anew.
        space: What each gene may become.
        cycle: 1 to c.
        rng: The only source of randomness.
    """
    names = list(dict.fromkeys(name for names in space.slots.values() for name in names))
    low, high = space.batch_size
    sizes = [s for s in BATCH_SIZES if low <= s <= high and s % space.batch_multiple == 0]
    choices: list[list[Any]] = [
        _known(ADAPTIVE, space.optimizers) or list(space.optimizers),
        sizes or [parent.batch_size],
        _known(RECTIFIERS, names) or names or [""],
    ]
    child = _anew(parent, space, *(values[0] for values in choices))
    if cycle > 1 or child == parent:
        child = _anew(parent, space, *(values[rng.integers(len(values))] for values in choices))
    return child, Change("restart", f"fresh weights: {child}", "restart")


def _known(wanted: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in wanted if name in {*names}]


def _anew(parent: Genome, space: Space, optimizer: str, size: int, activation: str) -> Genome:
    child = space.with_optimizer(parent, optimizer).replace(batch_size=size)
    if optimizer in ADAPTIVE and child.learning_rate is not None:
        low, high = space.learning_rate
        child = child.replace(learning_rate=min(max(RATE, low), high))
    return with_activations(child, space, activation) if activation else child
