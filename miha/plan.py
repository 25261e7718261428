"""What a run shall do, decided before it begins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from miha.budgets import Budgets
from miha.errors import MihaWarning
from miha.fitness import Fitness
from miha.mutations import MUTATIONS, Mutation, resolve
from miha.records import Genome, Mode, Schedule


@dataclass(frozen=True)
class Plan:
    """What a run shall do.

    Attributes:
        schedule: How long what is trained.
        mutations: The operators that clones are made by.
        fitness: What the clones are compared by.
        monitor: Name of the logged value that the fitness reads.
        mode: Whether it is better small or large.
        control: Whether clone 0 of every population stays unchanged.
        restarts: In how many cycles, from the first, the last clone begins with fresh weights.
        backtrack: The share by which the network may be worse than the run's best before it is
            given up for that one; None: never.
        anneal: Whether the learning rate falls to zero in the last training.
        budgets: What may end it before its last cycle.
        restore_best: Whether the run ends with its best network instead of its last one.
        seed: Decides every random draw.
    """

    schedule: Schedule
    mutations: Sequence[Mutation]
    fitness: Fitness
    monitor: str
    mode: Mode
    control: bool
    seed: int
    restarts: int = 0
    backtrack: float | None = None
    anneal: bool = False
    budgets: Budgets = Budgets()
    restore_best: bool = False

    @property
    def longest(self) -> Schedule:
        """The most that the run can be: its schedule, as far as its budget of epochs goes."""
        return self.budgets.longest(self.schedule)


def possible_mutations(
    wishes: Sequence[Mutation] | None, genome: Genome, has_validation: bool
) -> tuple[Mutation, ...]:
    """Leave out the mutations that the network does not allow, with a warning.

    Args:
        wishes: The mutations that the user asked for; None for the default ones.
        genome: The network's own.
        has_validation: Whether clones are compared on validation data.

    Returns:
        What may be drawn.
    """
    default = [name for name in MUTATIONS if has_validation or name != "learning_rate"]
    reasons = {}
    if not genome.activations:
        reasons["activation"] = "the network has no layer whose activation may be exchanged"
    if genome.learning_rate is None:
        reasons["learning_rate"] = "the network's learning rate schedule is kept"
    mutations = resolve(default) if wishes is None else tuple(wishes)
    for mutation in mutations:
        if mutation.gene in reasons:
            text = f"There is no mutation of {mutation.gene}: {reasons[mutation.gene]}."
            warnings.warn(text, MihaWarning, stacklevel=3)
    return tuple(mutation for mutation in mutations if mutation.gene not in reasons)
