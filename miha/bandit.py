"""Choice that learns: mutations that paid off in a run are drawn more often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from miha.mutations import Mutation
from miha.records import Genome
from miha.search.ancestry import begun, clones_by_cycle, stages
from miha.search.fitness import LOSES

Entry = Mapping[str, Any]
Payment = tuple[str, int, bool]
"""What was drawn, in which cycle, and whether it paid."""

DISCOUNT = 0.8
"""Weight of a cycle beside the next one: what pays changes while a network learns."""

OLDEST = 40
"""Cycles after which a payment weighs too little to be looked up."""

FLOOR = 0.3
"""Share of the draws that all mutations have alike, whatever they have paid."""

PRIOR = 1.0
"""Successes and failures that each mutation and each value begins with."""


def learned_weights(
    mutations: Sequence[Mutation], trainings: Iterable[Entry], cycle: int
) -> list[float]:
    """Return how often each mutation is to be drawn, from what it has paid so far.

    A clone pays where it is fitter than the control when both have trained side by side last, or
    than the population's mean where there is none. A mutation's share of successes, discounted by
    their age, is its probability but for a floor: probability matching.

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


_OF_THE_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")


def new_values(parent: Genome, child: Genome) -> list[str]:
    """Return what is new in a genome, in words such as "optimizer adam" and "batch_size larger".

    The numbers that an exchanged optimizer brings along are not told: nobody has drawn them.
    """
    found: set[str] = set()
    brought = _OF_THE_OPTIMIZER if child.optimizer != parent.optimizer else ()
    for name in (field.name for field in fields(Genome) if field.name not in brought):
        before, after = getattr(parent, name), getattr(child, name)
        pairs = zip(before, after, strict=True) if isinstance(after, tuple) else [(before, after)]
        found |= {f"{name} {_become(*pair)}" for pair in pairs if pair[0] != pair[1]}
    return sorted(found)  # In an order, so that sums over them are the same in every process.


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
    recent = (clones for at, clones in _before(trainings, cycle) if at >= cycle - MEMORY)
    beside = (begun(clones) for clones in recent)
    found = {
        Genome.from_dict(clone["genome"])
        for clones in beside
        if any(_is(clone, "none") and clone["genome"] == parent.to_dict() for clone in clones)
        for clone in clones
        if not _is(clone, "restart")  # Its fresh weights have lost, not the change.
    }
    return found - {parent}


def _outcomes(trainings: Iterable[Entry], cycle: int) -> Iterator[tuple[Entry, bool]]:
    """Yield every mutated clone of earlier cycles, and whether it paid.

    Fresh weights aside: they are not compared by their fitness.
    """
    recent = (clones for at, clones in _before(trainings, cycle) if at >= cycle - OLDEST)
    for clones in recent:
        rounds = _rounds(clones)
        control = next((c for c, entry in rounds[0].items() if _is(entry, "none")), None)
        for number, first in rounds[0].items():
            if number != control and not _is(first, "restart"):
                yield first, _has_paid(rounds, number, control)


def _before(trainings: Iterable[Entry], cycle: int) -> list[tuple[int, list[Entry]]]:
    """Return the clones of each cycle before one."""
    return [(at, clones) for at, clones in clones_by_cycle(trainings).items() if at < cycle]


def _rounds(clones: Sequence[Entry]) -> list[dict[int, Entry]]:
    """Return who trained side by side, by the number that each began with.

    First the population, then those of it that went on alone: after a race, or to be joined.
    """
    rounds: list[dict[int, Entry]] = [{}]
    for clone in clones:
        way = stages(clones, clone["clone"])
        first, depth = way[0], len(way) - 1
        if all(_is(stage, "none") or _is(stage, first["change"]["gene"]) for stage in way):
            rounds += [{} for _ in range(depth + 1 - len(rounds))]
            rounds[depth].setdefault(first["clone"], clone)
    return rounds


def _has_paid(rounds: Sequence[Mapping[int, Entry]], number: int, control: int | None) -> bool:
    """Tell whether a clone was fitter than the control when both had trained side by side last.

    Than the mean of its population where there is no control.
    """
    if control is None:
        finite = [f for f in map(_fitness, rounds[0].values()) if f > LOSES]
        return _fitness(rounds[0][number]) > sum(finite) / max(len(finite), 1)
    last = [r for r in rounds if number in r and control in r][-1]
    return _fitness(last[number]) > _fitness(last[control])


def _is(entry: Entry, gene: str) -> bool:
    return bool(entry["change"]["gene"] == gene)


def _fitness(entry: Entry) -> float:
    return LOSES if entry["fitness"] is None else float(entry["fitness"])


def _share(name: str, payments: Sequence[Payment], cycle: int) -> float:
    """Return the discounted share of successes of a gene or of a value."""
    mine = [(DISCOUNT ** (cycle - 1 - at), paid) for what, at, paid in payments if what == name]
    successes = PRIOR + sum(weight for weight, paid in mine if paid)
    return successes / (2 * PRIOR + sum(weight for weight, _ in mine))
