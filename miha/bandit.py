"""Choice that learns: mutations that paid off in a run are drawn more often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from miha.fitness import LOSES
from miha.mutations import Mutation
from miha.records import Genome

Entry = Mapping[str, Any]
Payment = tuple[str, int, bool]
"""What was drawn, in which cycle, and whether it paid."""

DISCOUNT = 0.8
"""Weight of a cycle beside the next one: what pays changes while a network learns."""

FLOOR = 0.3
"""Share of the draws that all mutations have alike, whatever they have paid."""

PRIOR = 1.0
"""Successes and failures that each mutation and each value begins with."""


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
    payments = [(e["change"]["gene"], e["cycle"], paid) for e, paid in _outcomes(trainings, cycle)]
    shares = [_share(mutation.gene, payments, cycle) for mutation in mutations]
    mean = sum(shares) / len(shares)
    return [
        mutation.weight * (FLOOR + (1 - FLOOR) * share / mean)
        for mutation, share in zip(mutations, shares, strict=True)
    ]


def learned_welcome(
    trainings: Sequence[Entry], parent: Genome, cycle: int
) -> Callable[[Genome], float]:
    """Return how welcome a child is, from what its new values have paid so far.

    The mean share of successes of its values, as `learned_weights` has it for operators: of a name
    such as an optimizer's, of a number whether it became larger or smaller.

    Args:
        trainings: The journal's entries.
        parent: The genome that children are made of.
        cycle: The cycle to draw for; entries of it and of later ones do not count.
    """
    genomes = {e["archive"]: Genome.from_dict(e["genome"]) for e in trainings if e["archive"]}
    payments = [
        (value, entry["cycle"], paid)
        for entry, paid in _outcomes(trainings, cycle)
        if entry["parent"] in genomes
        for value in new_values(genomes[entry["parent"]], Genome.from_dict(entry["genome"]))
    ]

    def welcome(child: Genome) -> float:
        shares = [_share(value, payments, cycle) for value in new_values(parent, child)]
        return sum(shares) / len(shares) if shares else 0.5

    return welcome


def new_values(parent: Genome, child: Genome) -> set[str]:
    """Return what is new in a genome, in words such as "optimizer adam" and "batch_size larger"."""
    found: set[str] = set()
    for name in (field.name for field in fields(Genome)):
        before, after = getattr(parent, name), getattr(child, name)
        pairs = zip(before, after, strict=True) if isinstance(after, tuple) else [(before, after)]
        found |= {f"{name} {_become(*pair)}" for pair in pairs if pair[0] != pair[1]}
    return found


def _become(before: Any, after: Any) -> str:
    """Say what a value has become; of a pair of place and value, the value."""
    if isinstance(after, tuple):
        return _become(before[1], after[1])
    if isinstance(after, str) or before is None or after is None:
        return str(after)
    return "larger" if after > before else "smaller"


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


def _outcomes(trainings: Iterable[Entry], cycle: int) -> Iterator[tuple[Entry, bool]]:
    """Yield every mutated clone of earlier cycles, and whether it paid."""
    cycles: dict[int, list[Entry]] = {}
    for entry in trainings:
        if entry["phase"] == "clone" and entry["cycle"] < cycle:
            cycles.setdefault(entry["cycle"], []).append(entry)
    for clones in cycles.values():
        bar = _bar(clones)
        yield from ((e, _fitness(e) > bar) for e in clones if e["change"]["gene"] != "none")


def _bar(clones: Sequence[Entry]) -> float:
    """Return the fitness above which a clone has paid."""
    controls = [_fitness(e) for e in clones if e["change"]["gene"] == "none"]
    finite = [f for f in map(_fitness, clones) if f > LOSES]
    return controls[0] if controls else sum(finite) / max(len(finite), 1)


def _fitness(entry: Entry) -> float:
    return LOSES if entry["fitness"] is None else float(entry["fitness"])


def _share(name: str, payments: Sequence[Payment], cycle: int) -> float:
    """Return the discounted share of successes of a gene or of a value."""
    mine = [(DISCOUNT ** (cycle - 1 - at), paid) for what, at, paid in payments if what == name]
    successes = PRIOR + sum(weight for weight, paid in mine if paid)
    return successes / (2 * PRIOR + sum(weight for weight, _ in mine))
