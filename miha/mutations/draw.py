"""Which mutations there are, and how a population of mutants is drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

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
from miha.records import RESERVED_GENES, Change, Genome
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

CHANGES_OF_WEIGHTS: dict[str, str] = {
    "restart": "fresh weights",
    "perturb": "weights shrunk and perturbed",
}
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


def mutate(
    genome: Genome,
    mutations: Sequence[Mutation],
    space: Space,
    rng: np.random.Generator,
    first: int | None = None,
) -> tuple[Genome, Change]:
    """Change one gene, by a mutation drawn according to the weights.

    Args:
        genome: The parent's.
        mutations: The operators to draw from; those that can change nothing are passed over.
        space: What each gene may become.
        rng: The only source of randomness.
        first: The operator to try first; drawn by default.

    Returns:
        The new genome, which differs unless the weights do, and what changed.

    Raises:
        ArgumentError: No operator can change anything.
    """
    for index in _order(mutations, rng, first):
        mutation = mutations[index]
        child = _apply(mutation, genome, space, rng)
        of_weights = CHANGES_OF_WEIGHTS.get(mutation.transition)
        if child is not None and (child != genome or of_weights):
            words = filter(None, [of_weights, describe(genome, child)])
            return child, Change(mutation.gene, ", ".join(words), mutation.transition)
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
    tried: Collection[Genome] = (),
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
        tried: Genomes that shall not be drawn again.
        tries: Draws before a mutant that exists already is accepted.

    Returns:
        A genome and its change for each generator.
    """
    mutants: list[tuple[Genome, Change]] = []
    operators = systematic(_shares(mutations), len(generators), rng)
    for own, operator in zip(generators, operators, strict=True):
        seen = {*tried, *(child for child, _ in mutants)}
        for attempt in range(tries):
            # An operator whose children all exist already gives its place to another.
            first = operator if attempt < tries // 2 else None
            mutant = mutate(genome, mutations, space, own, first)
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
    # Rounding may leave the sum of all shares below the last point.
    return [int(order[min(place, len(order) - 1)]) for place in found]


def _shares(mutations: Sequence[Mutation]) -> np.ndarray:
    weights = np.array([mutation.weight for mutation in mutations])
    return np.asarray(weights / weights.sum())


def _order(mutations: Sequence[Mutation], rng: np.random.Generator, first: int | None) -> list[int]:
    """Return the order in which operators are tried, until one can change something."""
    count = len(mutations)
    drawn = rng.choice(count, count, replace=False, p=_shares(mutations))
    order = [int(index) for index in drawn]
    if first is None:
        return order
    return [first, *(index for index in order if index != first)]


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
    if not isinstance(gene, str) or not gene or gene in RESERVED_GENES:
        raise ArgumentError(
            "A mutation's `gene` must be a name for what it changes, other than those that a run "
            f"gives itself, {list(RESERVED_GENES)}. Received: {type(mutation).__name__} with "
            f"gene={gene!r}. Set it in the class: gene = 'my_gene'."
        )


def _apply(
    mutation: Mutation, genome: Genome, space: Space, rng: np.random.Generator
) -> Genome | None:
    name = type(mutation).__name__
    try:
        child = mutation.mutate(genome, space, rng)
    except Exception as error:
        raise MihaError(f"The mutation {name} raised {error!r}.") from error
    if child is None:
        return None

    child = completed(genome, child, space)
    rule = broken_rule(genome, child, space)
    if rule is not None:
        raise MihaError(
            f"A mutation must return {rule}. Received: {child} from {name}, for {genome}. "
            "Draw from `space` in its `mutate`."
        )
    return child
