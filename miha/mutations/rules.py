"""What a mutation may return, checked for a user's own too, and what it changed, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import inf
from numbers import Integral
from typing import Any

from miha.records import Genome
from miha.space import Space

Rule = tuple[str, bool]
"""A rule in words, and whether it is kept."""

Pairs = Sequence[tuple[str, Any]]
"""Places of a network, and what each holds."""


def completed(
    genome: Genome,
    child: Genome,
    space: Space,
) -> Genome:
    """Give a new optimizer its own weight decay, where that of the parent stood."""
    name = child.optimizer
    if name == genome.optimizer or name not in space.optimizers:
        return child
    changes: dict[str, Any] = {"learning_rate": child.learning_rate}
    if child.weight_decay != genome.weight_decay:
        changes["weight_decay"] = child.weight_decay
    return space.with_optimizer(child, name).replace(**changes)


def broken_rule(
    genome: Genome,
    child: Genome,
    space: Space,
) -> str | None:
    """Return the rule that a mutated genome breaks, if any."""
    rules = chain(_training_rules(genome, child, space), _place_rules(child, space))
    for rule, is_kept in rules:
        if not is_kept:
            return rule
    return None


def _training_rules(
    genome: Genome,
    child: Genome,
    space: Space,
) -> Iterator[Rule]:
    """Yield the rules of the optimizer, its numbers, the batch size and the loss."""
    name = child.optimizer
    yield f"an optimizer of {list(space.optimizers)}", name in space.optimizers

    rate = child.learning_rate
    yield "a positive, finite learning rate", rate is None or 0 < rate < inf
    is_scheduled = genome.learning_rate is None
    rule = "no learning rate where a schedule decides it, and one where none does"
    yield rule, (rate is None) == is_scheduled

    size = child.batch_size
    largest = space.batch_size[1]
    is_size = isinstance(size, Integral) and 1 <= size <= largest
    yield f"an integer batch size of 1 to {largest}", is_size
    rule = (
        f"a batch size that is a multiple of {space.batch_multiple}, the number of devices that a "
        "batch is shared out to"
    )
    yield rule, size % space.batch_multiple == 0

    weight_decays = space.weight_decay.get(name, ())
    yield _value_rule("weight_decay", child.weight_decay, weight_decays)
    yield _value_rule("label_smoothing", child.label_smoothing, space.label_smoothing)
    yield _value_rule("augmentation", child.augmentation, space.augmentation)


def _value_rule(
    gene: str,
    value: Any,
    values: Sequence[Any],
) -> Rule:
    # A gene that the network lacks is None.
    allowed = list(values) or [None]
    return f"a {gene} of {allowed} with this optimizer and loss", value in allowed


def _place_rules(
    child: Genome,
    space: Space,
) -> Iterator[Rule]:
    """Yield the rules of the genes that a network has in several places."""
    slots = child.activations
    yield "the slots of its parent", _places(slots) == list(space.slots)
    yield "activations that their slots may hold", _may_hold(slots, space.slots)

    dropout = child.dropout
    yield "the Dropout layers of its parent", _places(dropout) == list(space.dropout)
    yield "rates that their layers may have", _may_hold(dropout, space.dropout)

    noise = child.noise
    yield "the GaussianNoise layers of its parent", _places(noise) == list(space.noise)
    yield "standard deviations that their layers may have", _may_hold(noise, space.noise)

    noise = child.input_noise
    yield "the inputs of its parent", _places(noise) == list(space.input_noise)
    yield "amounts of noise that inputs may get", _may_hold(noise, space.input_noise)


def _places(pairs: Pairs) -> list[str]:
    return [place for place, _ in pairs]


def _may_hold(
    pairs: Pairs,
    space: Mapping[str, Sequence[Any]],
) -> bool:
    return all(value in space.get(place, ()) for place, value in pairs)


def describe(parent: Genome, child: Genome) -> str:
    """Say in words how a genome differs from its parent's."""
    parts = [*_optimizer_changes(parent, child), *_number_changes(parent, child)]
    parts += _place_changes(parent.activations, child.activations)
    parts += _place_changes(parent.dropout, child.dropout)
    parts += _place_changes(parent.noise, child.noise)
    parts += _place_changes(parent.input_noise, child.input_noise, "noise on ")
    return ", ".join(parts)


def _optimizer_changes(
    parent: Genome,
    child: Genome,
) -> Iterator[str]:
    if child.optimizer != parent.optimizer:
        rate = "" if child.learning_rate is None else f" at {child.learning_rate:g}"
        yield f"{parent.optimizer} -> {child.optimizer}{rate}"
        # What else is new is the optimizer's own.
        return
    for name in ("learning_rate", "weight_decay"):
        before = getattr(parent, name)
        after = getattr(child, name)
        if before != after:
            yield f"{name.replace('_', ' ')} {before:g} -> {after:g}"


def _number_changes(
    parent: Genome,
    child: Genome,
) -> Iterator[str]:
    if child.batch_size != parent.batch_size:
        yield f"batch size {parent.batch_size} -> {child.batch_size}"
    if child.label_smoothing != parent.label_smoothing:
        yield f"label smoothing {parent.label_smoothing:g} -> {child.label_smoothing:g}"
    if child.augmentation != parent.augmentation:
        yield f"augmentation {parent.augmentation:g} -> {child.augmentation:g}"


def _place_changes(
    before: Pairs,
    after: Pairs,
    prefix: str = "",
) -> Iterator[str]:
    for (place, old), (_, new) in zip(before, after, strict=True):
        if old != new:
            is_name = isinstance(old, str)
            text = f"{old} -> {new}" if is_name else f"{old:g} -> {new:g}"
            yield f"{prefix}{place}: {text}"
