"""Which mutations there are, and how a population of mutants is drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.random import Generator

from miha.errors import ArgumentError, MihaError
from miha.mutations.base import Mutation
from miha.mutations.network import (
    ActivationMutation,
    ActivationsMutation,
    AugmentationMutation,
    DropoutMutation,
    InputNoiseMutation,
    LabelSmoothingMutation,
    NoiseMutation,
)
from miha.mutations.optimizers import (
    BatchSizeMutation,
    LearningRateMutation,
    OptimizerMutation,
    WeightDecayMutation,
)
from miha.mutations.rules import broken_rule, completed, describe
from miha.records import RESERVED_GENES, Change, Genome
from miha.space import Space
from miha.utils.suggest import did_you_mean

MUTATIONS: dict[str, Callable[[], Mutation]] = {
    "optimizer": OptimizerMutation,
    "activation": ActivationMutation,
    "activations": ActivationsMutation,
    "batch_size": BatchSizeMutation,
    "learning_rate": LearningRateMutation,
    "weight_decay": WeightDecayMutation,
    "dropout": DropoutMutation,
    "noise": NoiseMutation,
    "label_smoothing": LabelSmoothingMutation,
    "input_noise": InputNoiseMutation,
    "augmentation": AugmentationMutation,
}
"""Each mutation by the name of its gene."""

FRESH_WEIGHTS = "fresh weights"
"""What a mutation whose transition is ``"restart"`` changes, whatever the genome."""


def resolve(
    mutations: Sequence[str | Mutation],
) -> tuple[Mutation, ...]:
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
    rng: Generator,
    first: int | None = None,
    factors: Mapping[str, float] | None = None,
) -> tuple[Genome, Change]:
    """Change one gene, by a mutation drawn according to the weights.

    Args:
        genome: The parent's.
        mutations: The operators to draw from; those that can change nothing are passed over.
        space: What each gene may become.
        rng: The only source of randomness.
        first: The operator to try first; drawn by default.
        factors: How often each gene is drawn, compared with its weight.

    Returns:
        The new genome, which differs unless the weights do, and what changed.

    Raises:
        ArgumentError: No operator can change anything.
    """
    for index in _order(mutations, rng, first, factors):
        mutation = mutations[index]
        child = _apply(mutation, genome, space, rng)
        if child is None:
            continue
        has_fresh_weights = mutation.transition == "restart"
        if child == genome and not has_fresh_weights:
            continue

        words = [FRESH_WEIGHTS] if has_fresh_weights else []
        if child != genome:
            words.append(describe(genome, child))
        return child, Change(mutation.gene, ", ".join(words), mutation.transition)

    genes = [mutation.gene for mutation in mutations]
    raise ArgumentError(
        "`mutations` must be able to change something. "
        f"Received: mutations={genes}, none of which can change {genome}. "
        "Widen the search space or name more mutations."
    )


def distinct_mutants(
    genome: Genome,
    mutations: Sequence[Mutation],
    space: Space,
    rng: Generator,
    generators: Sequence[Generator],
    factors: Mapping[str, float] | None = None,
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
        factors: How often each gene is drawn, compared with its weight; 1 where it is not named.
        tried: Genomes that shall not be drawn again.
        tries: Draws before a mutant that exists already is accepted.

    Returns:
        A genome and its change for each generator.
    """
    mutants: list[tuple[Genome, Change]] = []
    seen = set(tried)
    shares = _shares(mutations, factors)
    operators = systematic(shares, len(generators), rng)
    for generator, operator in zip(generators, operators, strict=True):
        for attempt in range(tries):
            # An operator whose children all exist already gives its place to another.
            first = operator if attempt < tries // 2 else None
            child, change = mutate(genome, mutations, space, generator, first, factors)
            if child not in seen:
                break
        mutants.append((child, change))
        seen.add(child)
    return mutants


def systematic(
    shares: np.ndarray,
    count: int,
    rng: Generator,
) -> list[int]:
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
    ends = np.cumsum(shares[order])
    found = np.searchsorted(ends, points, side="right")
    # Rounding may leave the sum of all shares below the last point.
    last = len(order) - 1
    return [int(order[min(place, last)]) for place in found]


def _shares(
    mutations: Sequence[Mutation],
    factors: Mapping[str, float] | None = None,
) -> np.ndarray:
    factors = factors or {}
    found = [mutation.weight * factors.get(mutation.gene, 1.0) for mutation in mutations]
    weights = np.array(found)
    return np.asarray(weights / weights.sum())


def _order(
    mutations: Sequence[Mutation],
    rng: Generator,
    first: int | None,
    factors: Mapping[str, float] | None,
) -> list[int]:
    """Return the order in which operators are tried, until one can change something."""
    count = len(mutations)
    # Drawn also where the first is given: what follows draws the same numbers then.
    drawn = rng.choice(count, count, replace=False, p=_shares(mutations, factors))
    order = [int(index) for index in drawn]
    if first is not None:
        order.remove(first)
        order.insert(0, first)
    return order


def _resolve_one(mutation: str | Mutation) -> Mutation:
    if isinstance(mutation, Mutation):
        _check_gene(mutation)
        return mutation
    if not isinstance(mutation, str) or mutation not in MUTATIONS:
        raise ArgumentError(
            f"A mutation must be one of {list(MUTATIONS)} or a `miha.Mutation`. "
            f"Received: {mutation!r}.{did_you_mean(mutation, MUTATIONS)}"
        )
    return MUTATIONS[mutation]()


def _check_gene(mutation: Mutation) -> None:
    gene = getattr(mutation, "gene", None)
    is_name = isinstance(gene, str) and gene != ""
    if not is_name or gene in RESERVED_GENES:
        raise ArgumentError(
            "A mutation's `gene` must be a name for what it changes, other than those that a run "
            f"gives itself, {list(RESERVED_GENES)}. Received: {type(mutation).__name__} with "
            f"gene={gene!r}. Set it in the class: gene = 'my_gene'."
        )


def _apply(
    mutation: Mutation,
    genome: Genome,
    space: Space,
    rng: Generator,
) -> Genome | None:
    """Return what a mutation makes of a genome, checked.

    Raises:
        MihaError: It raised, or returned what breaks a rule.
    """
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
