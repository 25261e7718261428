"""Choice that learns: mutations that paid off in a run are drawn more often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from miha.fitness import LOSES
from miha.mutations import Mutation
from miha.records import Genome

Entry = Mapping[str, Any]

DISCOUNT = 0.8
"""Weight of a cycle beside the next one: what pays changes while a network learns."""

FLOOR = 0.3
"""Share of the draws that all mutations have alike, whatever they have paid."""

PRIOR = 1.0
"""Successes and failures that each mutation begins with."""


def learned_weights(
    mutations: Sequence[Mutation], trainings: Iterable[Entry], cycle: int
) -> list[float]:
    """Return how often each mutation is to be drawn, from what it has paid so far.

    A clone pays where it is fitter than the control of its cycle, or than the cycle's mean where
    there is none. A mutation's share of successes, discounted by their age, is its probability
    but for a floor: probability matching.

    Source: A. Fialho, L. Da Costa, M. Schoenauer and M. Sebag, "Analyzing bandit-based adaptive
    operator selection mechanisms" (2010).

    Args:
        mutations: The operators, with the user's weights.
        trainings: The journal's entries.
        cycle: The cycle to draw for; entries of it and of later ones do not count.
    """
    payments = [p for p in _payments(trainings) if p[1] < cycle]
    shares = [_share(mutation.gene, payments, cycle) for mutation in mutations]
    mean = sum(shares) / len(shares)
    return [
        mutation.weight * (FLOOR + (1 - FLOOR) * share / mean)
        for mutation, share in zip(mutations, shares, strict=True)
    ]


MEMORY = 5
"""Cycles after which a change that has lost may be tried again."""


def tried(trainings: Iterable[Entry], parent: Genome, cycle: int) -> set[Genome]:
    """Return the genomes that were made of the parent's genome lately, and have lost.

    While the genome stays the same, the same change would lose again, or tell little: a small
    population has better things to try. A clone that won has become the parent.

    Args:
        trainings: The journal's entries.
        parent: The genome that clones are to be made of.
        cycle: The cycle to draw for; entries of it and of later ones do not count.
    """
    clones = [
        e for e in trainings if e["phase"] == "clone" and cycle - MEMORY <= e["cycle"] < cycle
    ]
    same = parent.to_dict()
    cycles = {e["cycle"] for e in clones if e["change"]["gene"] == "none" and e["genome"] == same}
    found = {Genome.from_dict(e["genome"]) for e in clones if e["cycle"] in cycles}
    return found - {parent}


def _payments(trainings: Iterable[Entry]) -> list[tuple[str, int, bool]]:
    """Return gene, cycle and success of every mutated clone."""
    cycles: dict[int, list[Entry]] = {}
    for entry in trainings:
        if entry["phase"] == "clone":
            cycles.setdefault(entry["cycle"], []).append(entry)
    return [
        (entry["change"]["gene"], cycle, _fitness(entry) > _bar(clones))
        for cycle, clones in cycles.items()
        for entry in clones
        if entry["change"]["gene"] != "none"
    ]


def _bar(clones: Sequence[Entry]) -> float:
    """Return the fitness above which a clone has paid."""
    controls = [_fitness(e) for e in clones if e["change"]["gene"] == "none"]
    finite = [f for f in map(_fitness, clones) if f > LOSES]
    return controls[0] if controls else sum(finite) / max(len(finite), 1)


def _fitness(entry: Entry) -> float:
    return LOSES if entry["fitness"] is None else float(entry["fitness"])


def _share(gene: str, payments: Sequence[tuple[str, int, bool]], cycle: int) -> float:
    """Return the discounted share of successes of a gene."""
    mine = [(DISCOUNT ** (cycle - 1 - at), paid) for name, at, paid in payments if name == gene]
    successes = PRIOR + sum(weight for weight, paid in mine if paid)
    return successes / (2 * PRIOR + sum(weight for weight, _ in mine))
