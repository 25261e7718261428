"""Who is in a population: the control, the mutants, and in the first cycles a restart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miha.mutations import Mutation, mutate, with_activations
from miha.plan import Plan
from miha.randomness import generator
from miha.records import UNCHANGED, Change, Genome
from miha.space import Space

Mutant = tuple[Genome, Change]

ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adamax")
"""Optimizers whose default learning rate suits most networks: a restart has few epochs."""

RESTART_BATCH_SIZES = (16, 32, 64)


def population(plan: Plan, parent: Genome, space: Space, cycle: int) -> list[Mutant]:
    """Return genome and change of each clone of a cycle, the control first.

    Args:
        plan: What the run does.
        parent: The genome of the network that the clones are made of.
        space: What each gene may become.
        cycle: 1 to c.
    """
    first, size = int(plan.control), plan.schedule.pop_size
    places = [generator(plan.seed, "clone", cycle, i, "mutation") for i in range(first, size)]
    restarts = int(cycle <= plan.restarts and len(places) > 1)
    mutants = distinct_mutants(parent, plan.mutations, space, places[: len(places) - restarts])
    drawn = [restarted(parent, space, rng) for rng in places[len(places) - restarts :]]
    return [(parent, UNCHANGED)] * first + mutants + drawn


def restarted(parent: Genome, space: Space, rng: np.random.Generator) -> Mutant:
    """Draw a genome to begin anew with: an adaptive optimizer, one activation for all layers.

    Args:
        parent: The genome of the network that does not begin anew.
        space: What each gene may become.
        rng: The only source of randomness.
    """
    optimizers = [name for name in space.optimizers if name in ADAPTIVE] or list(space.optimizers)
    names = list(dict.fromkeys(name for names in space.slots.values() for name in names))
    low, high = space.batch_size
    sizes = [size for size in RESTART_BATCH_SIZES if low <= size <= high] or [parent.batch_size]
    optimizer = optimizers[rng.integers(len(optimizers))]
    child = parent.replace(
        optimizer=optimizer,
        learning_rate=space.optimizers[optimizer],
        batch_size=sizes[rng.integers(len(sizes))],
    )
    if names:
        child = with_activations(child, space, names[rng.integers(len(names))])
    return child, Change("restart", f"fresh weights: {child}", "restart")


def distinct_mutants(
    genome: Genome,
    mutations: Sequence[Mutation],
    space: Space,
    generators: Sequence[np.random.Generator],
    tries: int = 20,
) -> list[tuple[Genome, Change]]:
    """Draw a population of mutants, all different where that is possible.

    Args:
        genome: The parent's.
        mutations: The operators to draw from.
        space: What each gene may become.
        generators: One for each mutant.
        tries: Draws before a mutant that exists already is accepted.

    Returns:
        A genome and its change for each generator.
    """
    mutants: list[tuple[Genome, Change]] = []
    for rng in generators:
        seen = {child for child, _ in mutants}
        for _ in range(tries):
            mutant = mutate(genome, mutations, space, rng)
            if mutant[0] not in seen:
                break
        mutants.append(mutant)
    return mutants
