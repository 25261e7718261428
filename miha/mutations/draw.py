"""Which mutations there are, and how a population of mutants is drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from miha.errors import ArgumentError, MihaError
from miha.mutations.base import Mutation
from miha.mutations.batch import BatchSizeMutation
from miha.mutations.layers import (
    ActivationMutation,
    ActivationsMutation,
    DropoutMutation,
    NoiseMutation,
)
from miha.mutations.losses import LabelSmoothingMutation, LossMutation
from miha.mutations.optimizers import (
    LearningRateMutation,
    MomentumMutation,
    OptimizerMutation,
    WeightDecayMutation,
)
from miha.mutations.rules import broken_rule, completed
from miha.mutations.weights import PerturbMutation
from miha.mutations.words import describe
from miha.records import Change, Genome
from miha.space import Space

MUTATIONS: dict[str, Callable[[], Mutation]] = {
    "optimizer": OptimizerMutation,
    "activation": ActivationMutation,
    "activations": ActivationsMutation,
    "batch_size": BatchSizeMutation,
    "learning_rate": LearningRateMutation,
    "momentum": MomentumMutation,
    "weight_decay": WeightDecayMutation,
    "dropout": DropoutMutation,
    "noise": NoiseMutation,
    "loss": LossMutation,
    "label_smoothing": LabelSmoothingMutation,
    "perturb": PerturbMutation,
}
"""Each mutation by the name of its gene."""

ANEW: dict[str, str] = {"restart": "fresh weights", "perturb": "weights shrunk and perturbed"}
"""Transitions that change a network although its genome stays, in words."""


def resolve(mutations: Sequence[str | Mutation]) -> tuple[Mutation, ...]:
    """Turn names into mutations.

    Args:
        mutations: Names of `MUTATIONS` and `Mutation` objects.

    Returns:
        One object each, in the same order.

    Raises:
        ArgumentError: An item is neither, or does not say which gene it changes.
    """
    if isinstance(mutations, (str, Mutation)) or not mutations:
        raise ArgumentError(
            "`mutations` must be a list of at least one mutation. "
            f"Received: mutations={mutations!r}. Choose from {list(MUTATIONS)}, as a list."
        )
    return tuple(_resolve_one(mutation) for mutation in mutations)


@dataclass(frozen=True)
class Learned:
    """What the past of a run says of its next draws; by default, nothing.

    Attributes:
        weights: How often each operator is drawn, relative to the others; its own by default.
        welcome: From the genome of a child to how welcome it is, a positive number.
        tried: Genomes that shall not be drawn again.
    """

    weights: Sequence[float] | None = None
    welcome: Callable[[Genome], float] | None = None
    tried: Collection[Genome] = ()


RESERVED = ("none", "restart", "crossover", "soup")
"""Names that a clone goes by where no mutation has changed it."""

CHOICES = 3
"""Children that an operator draws where one of them is chosen by how welcome it is."""


def mutate(
    genome: Genome,
    mutations: Sequence[Mutation],
    space: Space,
    rng: np.random.Generator,
    learned: Learned = Learned(),
    first: int | None = None,
) -> tuple[Genome, Change]:
    """Change one gene, by a mutation drawn according to the weights.

    Args:
        genome: The parent's.
        mutations: The operators to draw from; those that can change nothing are passed over.
        space: What each gene may become.
        rng: The only source of randomness.
        learned: What the past says of the draw.
        first: The operator to begin with; drawn by default.

    Returns:
        The new genome, which differs unless the weights do, and what changed.

    Raises:
        ArgumentError: No operator can change anything.
    """
    for index in _order(len(mutations), _shares(mutations, learned), rng, first):
        mutation = mutations[index]
        child = _chosen(mutation, genome, space, rng, learned.welcome)
        transition = mutation.transition
        if child is not None and (child != genome or transition in ANEW):
            words = [ANEW.get(transition), describe(genome, child)]
            return child, Change(mutation.gene, ", ".join(filter(None, words)), transition)
    raise ArgumentError(
        "`mutations` must be able to change something. "
        f"Received: mutations={[m.gene for m in mutations]}, none of which can change {genome}. "
        "Widen the search space or name more mutations."
    )


def distinct_mutants(
    genome: Genome,
    mutations: Sequence[Mutation],
    space: Space,
    rng: np.random.Generator,
    generators: Sequence[np.random.Generator],
    learned: Learned = Learned(),
    tries: int = 20,
) -> list[tuple[Genome, Change]]:
    """Draw a population of mutants, all different where that is possible.

    The operators are drawn systematically: each as often as its weight says, but for less than
    one, so that a small population does not try one gene three times and another never.

    Args:
        genome: The parent's.
        mutations: The operators to draw from.
        space: What each gene may become.
        rng: Draws the operators.
        generators: One for each mutant.
        learned: What the past says of the draws.
        tries: Draws before a mutant that exists already is accepted.

    Returns:
        A genome and its change for each generator.
    """
    mutants: list[tuple[Genome, Change]] = []
    firsts = systematic(_shares(mutations, learned), len(generators), rng)
    for own, first in zip(generators, firsts, strict=True):
        seen = {*learned.tried, *(child for child, _ in mutants)}
        for attempt in range(tries):
            is_patient = attempt < tries // 2
            mutant = mutate(genome, mutations, space, own, learned, first if is_patient else None)
            if mutant[0] not in seen:
                break
        mutants.append(mutant)
    return mutants


def systematic(shares: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """Draw operators: each as often as its share says, but for less than one.

    Source: J. Carpenter, P. Clifford and P. Fearnhead, "Improved particle filter for nonlinear
    problems" (1999), who draw particles so.

    Args:
        shares: How often each operator is to be drawn; they sum to 1.
        count: How many to draw.
        rng: The only source of randomness.

    Returns:
        The operators' places, ``count`` of them.
    """
    order = rng.permutation(len(shares))
    points = (np.arange(count) + rng.uniform()) / max(count, 1)
    found = np.searchsorted(np.cumsum(shares[order]), points, side="right")
    return [int(order[min(place, len(order) - 1)]) for place in found]


def _shares(mutations: Sequence[Mutation], learned: Learned) -> np.ndarray:
    shares = np.array(learned.weights or [mutation.weight for mutation in mutations])
    return np.asarray(shares / shares.sum())


def _order(
    count: int, shares: np.ndarray, rng: np.random.Generator, first: int | None
) -> list[int]:
    """Return the order in which operators are asked, until one can change something."""
    order = [int(index) for index in rng.choice(count, count, replace=False, p=shares)]
    return order if first is None else [first, *(index for index in order if index != first)]


def _resolve_one(mutation: str | Mutation) -> Mutation:
    if isinstance(mutation, Mutation):
        _check_gene(mutation)
        return mutation
    if mutation not in MUTATIONS:
        raise ArgumentError(
            f"A mutation must be one of {list(MUTATIONS)} or a `miha.Mutation`. "
            f"Received: {mutation!r}."
        )
    return MUTATIONS[mutation]()


def _check_gene(mutation: Mutation) -> None:
    gene = getattr(mutation, "gene", None)
    if not isinstance(gene, str) or not gene or gene in RESERVED:
        raise ArgumentError(
            "A mutation's `gene` must be a name for what it changes, other than those that a run "
            f"gives itself, {list(RESERVED)}. Received: {type(mutation).__name__} with "
            f"gene={gene!r}. Set it in the class: gene = 'my_gene'."
        )


def _chosen(
    mutation: Mutation,
    genome: Genome,
    space: Space,
    rng: np.random.Generator,
    welcome: Callable[[Genome], float] | None,
) -> Genome | None:
    """Return a child; of several the more welcome one, more often, where that is known."""
    if welcome is None:
        return _apply(mutation, genome, space, rng)
    drawn = (_apply(mutation, genome, space, rng) for _ in range(CHOICES))
    children = [child for child in drawn if child is not None]
    if not children:
        return None
    shares = np.array([welcome(child) for child in children])
    return children[rng.choice(len(children), p=shares / shares.sum())]


def _apply(
    mutation: Mutation, genome: Genome, space: Space, rng: np.random.Generator
) -> Genome | None:
    name = type(mutation).__name__
    try:
        child = mutation.mutate(genome, space, rng)
    except Exception as error:
        raise MihaError(f"The mutation {name} raised {error!r}.") from error
    if child is not None:
        child = completed(genome, child, space)
    rule = None if child is None else broken_rule(genome, child, space)
    if rule:
        raise MihaError(
            f"A mutation must return {rule}. Received: {child} from {name}, for {genome}. "
            "Draw from `space` in its `mutate`."
        )
    return child
