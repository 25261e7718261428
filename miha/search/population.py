"""Who is in a population: the control, the mutants, and in the first cycles a restart."""

from __future__ import annotations

from collections.abc import Sequence

from miha.mutations import distinct_mutants
from miha.randomness import generator
from miha.records import UNCHANGED, Change, Epoch, Genome, TrainingRecord
from miha.search.ancestry import ancestors
from miha.search.diagnosis import EPOCHS, FACTORS, State, asked_for, diagnose
from miha.search.follow_up import follow_up
from miha.search.plan import Plan
from miha.search.restarts import draw_restart, has_restart, restarts_pay
from miha.search.selection import find_control
from miha.space import Space
from miha.storage.past import Past

Clone = tuple[Genome, Change]

MEMORY = 5
"""Cycles after which a change that has lost may be tried again."""


def draw_population(
    plan: Plan,
    parent: TrainingRecord,
    space: Space,
    cycle: int,
    records: Sequence[TrainingRecord],
) -> list[Clone]:
    """Draw genome and change of each clone of a cycle, the control first.

    Args:
        plan: What the run does.
        parent: The network that the clones are made of.
        space: What each gene may become.
        cycle: 1 to c.
        records: The trainings of earlier cycles.
    """
    genome = parent.genome
    controls = [(genome, UNCHANGED)] if plan.search.control else []
    numbers = range(len(controls), plan.schedule.pop_size)
    generators = [generator(plan.seed, "clone", cycle, number, "mutation") for number in numbers]
    state = state_of(records, parent)
    lost = recently_lost(records, genome, cycle)
    mutants = distinct_mutants(
        genome,
        plan.mutations,
        space,
        generator(plan.seed, "clone", cycle, 0, "operators"),
        generators,
        factors=FACTORS[state],
        tried=lost,
    )
    first = follow_up(*last_winner(records, cycle), space)
    if first is None and has_learning_rate(plan):
        first = asked_for(state, genome, space)
    known = [mutant for mutant, _ in mutants]
    # A population of the control alone has no place for it.
    if mutants and first is not None and first[0] not in (*known, *lost):
        put_first(mutants, first)
    if has_restart(cycle, plan.search, len(mutants)) and restarts_pay(records, cycle, parent, plan):
        mutants[-1] = draw_restart(genome, space, cycle, generators[-1])
    return controls + mutants


def put_first(mutants: list[Clone], first: Clone) -> None:
    """Put a clone in place of the mutant with the same gene, else of the first; it comes first."""
    genes = [change.gene for _, change in mutants]
    gene = first[1].gene
    # One gene is tried but once, where it can be.
    del mutants[genes.index(gene) if gene in genes else 0]
    mutants.insert(0, first)


def has_learning_rate(plan: Plan) -> bool:
    """Return whether the learning rate mutates."""
    return any(mutation.gene == "learning_rate" for mutation in plan.mutations)


def state_of(
    records: Sequence[TrainingRecord],
    parent: TrainingRecord,
) -> State:
    """Return what a network does, by the curves of its main line."""
    latest: list[Epoch] = []
    for record in ancestors(records, parent):
        if len(latest) >= EPOCHS:
            break
        latest = [*record.epochs, *latest]
    return diagnose(latest)


def last_winner(
    records: Sequence[TrainingRecord],
    cycle: int,
) -> tuple[TrainingRecord | None, Genome | None]:
    """Return the clone that won the cycle before, and the genome that it was made of."""
    of_cycle = Past.of(records).of_cycle(cycle - 1)
    archives = [record.parent for record in of_cycle if record.phase == "winner"]
    clones = [record for record in of_cycle if record.is_clone]
    control = find_control(clones)
    for clone in clones:
        if clone.archive in archives and control is not None:
            return clone, control.genome
    return None, None


def recently_lost(
    records: Sequence[TrainingRecord],
    parent: Genome,
    cycle: int,
) -> set[Genome]:
    """Return the genomes that were made of the parent's genome lately, and have lost.

    While the genome stays the same, the same change would lose again, or tell little: a small
    population has better things to try. A clone that won has become the parent.

    Args:
        records: The run's trainings.
        parent: The genome that clones are to be made of.
        cycle: The cycle to draw for; records of it and of later ones do not count.
    """
    past = Past.of(records)
    lost: set[Genome] = set()
    for earlier in range(max(1, cycle - MEMORY), cycle):
        clones = [record for record in past.of_cycle(earlier) if record.is_clone]
        control = find_control(clones)
        if control is not None and control.genome == parent:
            # Of a restart, the fresh weights have lost, not the genome.
            lost |= {clone.genome for clone in clones if not clone.change.is_restart}
    return lost - {parent}
