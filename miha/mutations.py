"""Mutations: pure operators on genomes, which draw from the generator they are given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from miha.errors import ArgumentError, MihaError
from miha.records import Change, Genome, Transition
from miha.space import Space


class Mutation(ABC):
    """One way to change a genome.

    A mutation of your own sets ``gene``, the name its changes go by, and writes `mutate`.

    Args:
        weight: How often it is drawn, relative to the others; positive.

    Attributes:
        transition: What becomes of the parent's values: by default, the clone inherits them.
    """

    gene: ClassVar[str]
    transition: Transition = "inherit"

    def __init__(self, weight: float = 1.0) -> None:
        if not 0 < weight < float("inf"):
            raise ArgumentError(
                f"`weight` must be positive and finite. Received: weight={weight!r}. "
                "Leave the mutation out to switch it off."
            )
        self.weight = float(weight)

    def describe(self) -> dict[str, Any]:
        """Return class and settings, for the run's record."""
        return {"class": type(self).__name__, **vars(self)}

    @abstractmethod
    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome that differs in this gene, or None where nothing can change.

        Args:
            genome: The parent's.
            space: What each gene may become.
            rng: The only source of randomness.
        """


class OptimizerMutation(Mutation):
    """Exchanges the optimizer; the new one begins with its own default learning rate."""

    gene = "optimizer"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another optimizer; see `Mutation.mutate`."""
        others = [name for name in space.optimizers if name != genome.optimizer]
        if not others:
            return None
        name = others[rng.integers(len(others))]
        return genome.replace(optimizer=name, learning_rate=space.optimizers[name])


class ActivationMutation(Mutation):
    """Exchanges the activation of one randomly chosen layer.

    Args:
        keep_function: Whether the weights around it make up for the exchange, as far as they can.
        weight: See `Mutation`.
    """

    gene = "activation"

    def __init__(self, keep_function: bool = True, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.transition = "keep_function" if keep_function else "inherit"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another activation in one slot; see `Mutation.mutate`."""
        now = dict(genome.activations)
        slots = [slot for slot, names in space.slots.items() if set(names) - {now[slot]}]
        if not slots:
            return None
        slot = slots[rng.integers(len(slots))]
        others = [name for name in space.slots[slot] if name != now[slot]]
        return genome.with_activation(slot, others[rng.integers(len(others))])


class ActivationsMutation(ActivationMutation):
    """Gives all layers the same activation, those that cannot hold it aside."""

    gene = "activations"

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another activation in several slots; see `Mutation.mutate`."""
        names = list(dict.fromkeys(name for names in space.slots.values() for name in names))
        children = [with_activations(genome, space, name) for name in names]
        others = [child for child in children if child != genome]
        return others[rng.integers(len(others))] if others and len(space.slots) > 1 else None


def with_activations(genome: Genome, space: Space, name: str) -> Genome:
    """Return a genome whose slots hold one activation, those that cannot aside."""
    pairs = ((s, name if name in space.slots[s] else a) for s, a in genome.activations)
    return genome.replace(activations=tuple(pairs))


class BatchSizeMutation(Mutation):
    """Doubles or halves the batch size.

    Args:
        step: Samples to add or take away instead; the prototype of 2021 had 10.
        weight: See `Mutation`.
    """

    gene = "batch_size"

    def __init__(self, step: int | None = None, weight: float = 1.0) -> None:
        super().__init__(weight)
        if step is not None and (not isinstance(step, int) or step < 1):
            raise ArgumentError(
                f"`step` must be an integer >= 1, or None to double and halve. "
                f"Received: step={step!r}. The prototype of 2021 had 10."
            )
        self.step = step

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with a larger or smaller batch size; see `Mutation.mutate`."""
        size, (low, high) = genome.batch_size, space.batch_size
        steps = (size - self.step, size + self.step) if self.step else (size // 2, size * 2)
        others = [s for s in (min(max(s, low), high) for s in steps) if s != size]
        return genome.replace(batch_size=others[rng.integers(len(others))]) if others else None


class LearningRateMutation(Mutation):
    """Multiplies the learning rate by a factor of 0.2 to 5, drawn on the log scale."""

    gene = "learning_rate"
    factors = (0.2, 5.0)

    def mutate(self, genome: Genome, space: Space, rng: np.random.Generator) -> Genome | None:
        """Return a genome with another learning rate; see `Mutation.mutate`."""
        rate, (low, high) = genome.learning_rate, space.learning_rate
        if rate is None:
            return None
        bounds = np.clip([rate * factor for factor in self.factors], low, high)
        drawn = [np.exp(rng.uniform(*np.log(bounds))), *bounds]
        # Three digits: a table of learning rates shall be legible.
        rounded = [min(max(float(f"{value:.3g}"), low), high) for value in drawn]
        others = [value for value in rounded if value != rate]
        return genome.replace(learning_rate=others[0]) if others else None


MUTATIONS: dict[str, Callable[[], Mutation]] = {
    "optimizer": OptimizerMutation,
    "activation": ActivationMutation,
    "activations": ActivationsMutation,
    "batch_size": BatchSizeMutation,
    "learning_rate": LearningRateMutation,
}


def resolve(mutations: Sequence[str | Mutation]) -> tuple[Mutation, ...]:
    """Turn names into mutations.

    Args:
        mutations: Names of `MUTATIONS` and `Mutation` objects.

    Returns:
        One object each, in the same order.

    Raises:
        ArgumentError: An item is neither.
    """
    if isinstance(mutations, (str, Mutation)) or not mutations:
        raise ArgumentError(
            "`mutations` must be a list of at least one mutation. "
            f"Received: mutations={mutations!r}. Choose from {list(MUTATIONS)}, as a list."
        )
    return tuple(_resolve_one(mutation) for mutation in mutations)


def mutate(
    genome: Genome, mutations: Sequence[Mutation], space: Space, rng: np.random.Generator
) -> tuple[Genome, Change]:
    """Change one gene, by a mutation drawn according to the weights.

    Args:
        genome: The parent's.
        mutations: The operators to draw from; those that can change nothing are passed over.
        space: What each gene may become.
        rng: The only source of randomness.

    Returns:
        The new genome, which always differs, and what changed.

    Raises:
        ArgumentError: No operator can change anything.
    """
    weights = np.array([mutation.weight for mutation in mutations])
    order = rng.choice(len(mutations), len(mutations), replace=False, p=weights / weights.sum())
    for index in order:
        mutation = mutations[index]
        child = _apply(mutation, genome, space, rng)
        if child is not None and child != genome:
            return child, Change(mutation.gene, describe(genome, child), mutation.transition)
    raise ArgumentError(
        "`mutations` must be able to change something. "
        f"Received: mutations={[m.gene for m in mutations]}, none of which can change {genome}. "
        "Widen the search space or name more mutations."
    )


def describe(parent: Genome, child: Genome) -> str:
    """Say in words how a genome differs from its parent's."""
    changes = []
    if child.optimizer != parent.optimizer:
        rate = "" if child.learning_rate is None else f" at {child.learning_rate:g}"
        changes.append(f"{parent.optimizer} -> {child.optimizer}{rate}")
    elif child.learning_rate != parent.learning_rate:
        changes.append(f"learning rate {parent.learning_rate:g} -> {child.learning_rate:g}")
    if child.batch_size != parent.batch_size:
        changes.append(f"batch size {parent.batch_size} -> {child.batch_size}")
    for (slot, before), (_, after) in zip(parent.activations, child.activations, strict=True):
        if before != after:
            changes.append(f"{slot}: {before} -> {after}")
    return ", ".join(changes)


def _resolve_one(mutation: str | Mutation) -> Mutation:
    if isinstance(mutation, Mutation):
        return mutation
    if mutation not in MUTATIONS:
        raise ArgumentError(
            f"A mutation must be one of {list(MUTATIONS)} or a `miha.Mutation`. "
            f"Received: {mutation!r}."
        )
    return MUTATIONS[mutation]()


def _apply(
    mutation: Mutation, genome: Genome, space: Space, rng: np.random.Generator
) -> Genome | None:
    name = type(mutation).__name__
    try:
        child = mutation.mutate(genome, space, rng)
    except Exception as error:
        raise MihaError(f"The mutation {name} raised {error!r}.") from error
    rule = None if child is None else _broken_rule(genome, child, space)
    if rule:
        raise MihaError(
            f"A mutation must return {rule}. Received: {child} from {name}, for {genome}. "
            "Draw from `space` in its `mutate`."
        )
    return child


def _broken_rule(genome: Genome, child: Genome, space: Space) -> str | None:
    """Return the rule that a mutated genome breaks, if any."""
    rate, size = child.learning_rate, child.batch_size
    is_positive = rate is not None and 0 < rate < inf
    is_size = isinstance(size, Integral) and size >= 1 and size <= space.batch_size[1]
    rules = {
        f"an optimizer of {list(space.optimizers)}": child.optimizer in space.optimizers,
        "a positive, finite learning rate": is_positive or rate is None,
        "no learning rate where a schedule decides it, and one where none does": (
            (rate is None) == (genome.learning_rate is None)
        ),
        f"an integer batch size of 1 to {space.batch_size[1]}": is_size,
        "the slots of its parent": [s for s, _ in child.activations] == list(space.slots),
        "activations that their slots may hold": all(
            activation in space.slots.get(slot, ()) for slot, activation in child.activations
        ),
    }
    return next((rule for rule, is_kept in rules.items() if not is_kept), None)
