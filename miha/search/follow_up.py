"""Follow-up: a change that won is taken one step further in the next cycle."""

from __future__ import annotations

from collections.abc import Sequence

from miha.mutations import describe
from miha.records import Change, Genome, TrainingRecord
from miha.space import Space

Pairs = tuple[tuple[str, float], ...]


def follow_up(
    winner: TrainingRecord | None,
    parent: Genome | None,
    space: Space,
) -> tuple[Genome, Change] | None:
    """Return a clone that goes one step further than the last winner; None where there is none.

    A step is one value of the gene's list, in the direction of the winner's change; for a
    learning rate that rose, it is the same factor again.

    Source: Y. Wu et al., "Understanding Short-Horizon Bias in Stochastic Meta-Optimization"
    (2018), for learning rates that fall.

    Args:
        winner: The clone that won the cycle before.
        parent: The genome that it was made of.
        space: What each gene may become.
    """
    if winner is None or parent is None or winner.change.kind != "mutation":
        return None
    genome = winner.genome
    further = _further(genome, parent, winner.change.gene, space)
    if further is None or further == genome:
        return None
    return further, Change(winner.change.gene, describe(genome, further))


def _further(genome: Genome, parent: Genome, gene: str, space: Space) -> Genome | None:
    if gene in ("input_noise", "dropout", "noise"):
        places = getattr(space, gene)
        pairs = _next_in_places(getattr(parent, gene), getattr(genome, gene), places)
        return genome.replace(**{gene: pairs})
    if gene in ("label_smoothing", "augmentation"):
        value = _next(getattr(parent, gene), getattr(genome, gene), getattr(space, gene))
        return genome.replace(**{gene: value})
    if gene == "weight_decay":
        values = space.weight_decay.get(genome.optimizer, ())
        value = _next(parent.weight_decay, genome.weight_decay, values)
        return genome.replace(weight_decay=value)
    if gene == "learning_rate" and genome.learning_rate and parent.learning_rate:
        if genome.learning_rate < parent.learning_rate:
            # A smaller rate always looks better in a short trial, and learns less in a long one.
            return None
        rate = genome.learning_rate**2 / parent.learning_rate
        return genome.replace(learning_rate=space.bounded_rate(rate))
    return None


def _next_in_places(
    before: Pairs,
    after: Pairs,
    places: dict[str, Sequence[float]],
) -> Pairs:
    found = []
    for (place, old), (_, new) in zip(before, after, strict=True):
        found.append((place, _next(old, new, places[place]) or 0.0))
    return tuple(found)


def _next(
    before: float | None,
    after: float | None,
    values: Sequence[float],
) -> float | None:
    """Return the value that follows in the direction of a change; the same where none does."""
    if before is None or after is None or before == after:
        return after
    if after > before:
        return min((value for value in values if value > after), default=after)
    return max((value for value in values if value < after), default=after)
