"""Crossover: the two fittest clones of a population have a child, which costs no training."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from miha.mutations import describe
from miha.records import Change, Genome, Snapshot, TrainingRecord, gain
from miha.search import reasons
from miha.search.plan import Plan
from miha.search.selection import Selection, margin, rank

_OPTIMIZER = ("optimizer", "learning_rate", "weight_decay")
"""Genes that go together: a learning rate is one of its optimizer."""

_PLACES = ("activations", "dropout", "noise", "input_noise")
"""Genes that have a value for each of several places."""


def parents_of_child(
    clones: Sequence[TrainingRecord],
) -> tuple[TrainingRecord, ...]:
    """Return the two clones that are joined, the fitter one first; none where that makes no sense.

    Weights have a useful mean only between networks of one origin and of the same activations:
    others do not lie in one basin of the loss.

    Source: M. Wortsman et al., "Model soups" (2022).

    Args:
        clones: The population.
    """
    # A restart's weights have another origin.
    ranked = [clone for clone in rank(clones) if not clone.change.is_restart]
    if len(ranked) < 2:
        return ()
    fitter, other = ranked[:2]
    is_one_basin = fitter.genome.activations == other.genome.activations
    return (fitter, other) if is_one_basin else ()


def child_of(
    fitter: TrainingRecord, other: TrainingRecord, parent: Genome
) -> tuple[Genome, Change]:
    """Return the genome of a child with both clones' changes, and how it differs from the fitter's.

    Args:
        fitter: The fittest clone.
        other: The second fittest.
        parent: The genome that both were made of.
    """
    genome = joined(fitter.genome, other.genome, parent)
    genes = describe(fitter.genome, genome)
    text = f"the mean of clones {fitter.clone} and {other.clone}"
    if genes:
        text = f"{text}, {genes}"
    return genome, Change("crossover", text, "inherit", other.archive)


def joined(
    fitter: Genome,
    other: Genome,
    parent: Genome,
) -> Genome:
    """Return a genome with both clones' changes; where they contradict, the fitter one's.

    Args:
        fitter: The fittest clone's.
        other: The second fittest's.
        parent: The one that both were made of.
    """
    first = vars(fitter)
    second = vars(other)
    before = vars(parent)
    genes = dict(first)
    for name in _PLACES:
        genes[name] = _joined_places(first[name], second[name], before[name])

    # Of two optimizers, the fitter clone's stays, unless it did not change its own.
    is_same = fitter.optimizer == parent.optimizer == other.optimizer
    is_kept = all(first[name] == before[name] for name in _OPTIMIZER)
    if is_kept and not is_same:
        genes |= {name: second[name] for name in _OPTIMIZER}

    single = [name for name in first if name not in (*_PLACES, *_OPTIMIZER)]
    if is_same:
        single += _OPTIMIZER
    for name in single:
        is_changed = first[name] != before[name]
        genes[name] = first[name] if is_changed else second[name]
    return Genome(**genes)


def wins(
    child: TrainingRecord,
    winner: TrainingRecord,
    past: Sequence[float],
    plan: Plan,
) -> bool:
    """Return whether a child is better than the winner by the margin.

    Args:
        child: Evaluated, not trained.
        winner: The clone that wins otherwise.
        past: The network's monitored values.
        plan: What the run does.
    """
    if not isfinite(child.value):
        return False
    lead = gain(child.value, winner.value, plan.mode)
    return lead > margin(past, plan)


def select_child(
    child: TrainingRecord | None,
    selection: Selection,
    past: Sequence[float],
    plan: Plan,
) -> Selection:
    """Select a child in place of the winner, where it is better by the margin.

    Args:
        child: Evaluated, not trained; None where there is none.
        selection: The clone that wins otherwise.
        past: The network's monitored values.
        plan: What the run does.
    """
    winner = selection.winner
    if child is None or winner is None:
        return selection
    number = reasons.number(child)
    if not isfinite(child.value):
        return selection.but(winner, {number: "failed"})

    rival = reasons.name_of(winner)
    lead = gain(child.value, winner.value, plan.mode)
    noise = reasons.margin_in_words(margin(past, plan), plan.search.margin)
    if not wins(child, winner, past, plan):
        return selection.but(winner, {number: reasons.of_too_small_lead(lead, rival, noise)})
    won = reasons.of_lead(lead, rival, noise)
    lost = f"behind its child, clone {number}, by {reasons.short(lead)}"
    return selection.but(child, {number: won, reasons.number(winner): lost})


def mean(fitter: Snapshot, other: Snapshot) -> Snapshot:
    """Return a snapshot whose floats are the mean of two; all else is the fitter one's."""
    pairs = zip(fitter.variables, other.variables, strict=True)
    variables = tuple(_mean(first, second) for first, second in pairs)
    return Snapshot(variables, fitter.optimizer, fitter.slots)


def _mean(
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    # Counters and seed states have no mean.
    if not np.issubdtype(first.dtype, np.floating):
        return first
    return np.asarray((first + second) / 2, first.dtype)


def _joined_places(
    first: Any,
    second: Any,
    before: Any,
) -> tuple[tuple[str, Any], ...]:
    triples = zip(first, second, before, strict=True)
    return tuple(theirs if ours == old else ours for ours, theirs, old in triples)
