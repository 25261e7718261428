"""Who is in a population: the control, the mutants, and in the first cycles a restart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miha.bandit import Entry, learned_weights, learned_welcome, tried
from miha.mutations import Learned, distinct_mutants, with_activations
from miha.plan import Plan
from miha.randomness import generator
from miha.records import UNCHANGED, Change, Genome
from miha.space import Space

Mutant = tuple[Genome, Change]

ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adamax")
"""Optimizers whose default learning rate suits most networks: a restart has few epochs."""

RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")
"""Activations under which a deep network learns from its first epochs: they do not saturate."""

RESTART_BATCH_SIZES = (16, 32, 64)


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
        mutants[-1] = restarted(genome, space, places[-1])
    return [(genome, UNCHANGED)] * first + mutants


def restarted(parent: Genome, space: Space, rng: np.random.Generator) -> Mutant:
    """Draw a genome to begin anew with: an adaptive optimizer, one rectifier for all layers.

    Args:
        parent: The genome of the network that does not begin anew.
        space: What each gene may become.
        rng: The only source of randomness.
    """
    optimizers = [name for name in space.optimizers if name in ADAPTIVE] or list(space.optimizers)
    names = list(dict.fromkeys(name for names in space.slots.values() for name in names))
    names = [name for name in names if name in RECTIFIERS] or names
    low, high = space.batch_size
    sizes = [size for size in RESTART_BATCH_SIZES if low <= size <= high] or [parent.batch_size]
    optimizer = optimizers[rng.integers(len(optimizers))]
    child = space.with_optimizer(parent, optimizer)
    child = child.replace(batch_size=sizes[rng.integers(len(sizes))])
    if names:
        child = with_activations(child, space, names[rng.integers(len(names))])
    return child, Change("restart", f"fresh weights: {child}", "restart")
