"""Crossover: the two fittest clones of a population join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.mutations import describe
from miha.records import Change, Genome, Network, Snapshot, Transition

_OPTIMIZER = ("optimizer", "learning_rate", "momentum", "weight_decay")
"""Genes that go together: a learning rate is one of its optimizer."""

MOST = 4
"""The most offspring that a cycle trains."""

_PLACES = ("activations", "dropout", "noise")
"""Genes that hold a value for each of several places."""


@dataclass(frozen=True)
class Offspring:
    """One of those that compete after a population.

    Attributes:
        base: The clone that it goes on from.
        genome: Its hyperparameters.
        change: How they differ from those of ``base``.
        is_soup: Whether its first values are the mean of both clones'.
    """

    base: Network
    genome: Genome
    change: Change
    is_soup: bool = False


def offspring(
    fitter: Network, other: Network, parent: Genome, transitions: Sequence[Transition]
) -> Iterator[Offspring]:
    """Yield who competes: both clones as they are, their child, and their mean.

    The child has the fitter one's values and both clones' changes; there is none where these
    are incompatible or the same. The mean of weights is sought only between networks of one
    origin and of the same activations: others do not lie in one basin.

    Source of the mean: M. Wortsman et al., "Model soups" (2022).

    Args:
        fitter: The fittest clone.
        other: The second fittest.
        parent: The genome that both were made of.
        transitions: How each of the two began: after a race, its own tells how it went on.
    """
    yield Offspring(fitter, fitter.genome, Change("none", f"{_name(fitter)} goes on"))
    yield Offspring(other, other.genome, Change("none", f"{_name(other)} goes on"))
    if {"restart", "perturb"} & {*transitions}:
        return
    genome = joined(fitter.genome, other.genome, parent)
    if genome not in (fitter.genome, other.genome):
        text = f"{_name(fitter)} with {_name(other)}'s {describe(fitter.genome, genome)}"
        change = Change("crossover", text, transitions[1], other.task.archive)
        yield Offspring(fitter, genome, change)
    if fitter.genome.activations == other.genome.activations:
        text = f"the mean of {_name(fitter)} and {_name(other)}"
        change = Change("soup", text, "inherit", other.task.archive)
        yield Offspring(fitter, fitter.genome, change, is_soup=True)


def joined(fitter: Genome, other: Genome, parent: Genome) -> Genome:
    """Return a genome with both clones' changes; where they contradict, the fitter one's.

    Args:
        fitter: The fittest clone's.
        other: The second fittest's.
        parent: The one that both were made of.
    """
    first, second, old = (vars(genome) for genome in (fitter, other, parent))
    held = {name: first[name] for name in first}
    for name in _PLACES:
        held[name] = _joined_places(first[name], second[name], old[name])
    single = [name for name in first if name not in (*_PLACES, *_OPTIMIZER)]
    if fitter.optimizer == parent.optimizer == other.optimizer:
        single += _OPTIMIZER
    elif all(first[name] == old[name] for name in _OPTIMIZER):
        held |= {name: second[name] for name in _OPTIMIZER}
    for name in single:
        held[name] = second[name] if first[name] == old[name] else first[name]
    return Genome(**held)


def mean(fitter: Snapshot, other: Snapshot) -> Snapshot:
    """Return a snapshot whose floats are the mean of two; all else is the fitter one's."""
    pairs = zip(fitter.variables, other.variables, strict=True)
    variables = tuple(_mean(first, second) for first, second in pairs)
    return Snapshot(variables, fitter.optimizer, fitter.slots)


def _mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if not np.issubdtype(first.dtype, np.floating):
        return first
    return np.asarray((first + second) / 2, first.dtype)


def _joined_places(first: Any, second: Any, old: Any) -> tuple[tuple[str, Any], ...]:
    triples = zip(first, second, old, strict=True)
    return tuple(theirs if ours == before else ours for ours, theirs, before in triples)


def _name(clone: Network) -> str:
    return f"clone {clone.task.clone} ({clone.task.change.text})"
