"""What a mutation has changed, in words."""

from __future__ import annotations

from collections.abc import Iterator

from miha.records import Genome


def describe(parent: Genome, child: Genome) -> str:
    """Say in words how a genome differs from its parent's."""
    return ", ".join(
        [*_optimizer(parent, child), *_numbers(parent, child), *_places(parent, child)]
    )


def _optimizer(parent: Genome, child: Genome) -> Iterator[str]:
    if child.optimizer != parent.optimizer:
        rate = "" if child.learning_rate is None else f" at {child.learning_rate:g}"
        yield f"{parent.optimizer} -> {child.optimizer}{rate}"
        return  # What else is new is the optimizer's own.
    for name in ("learning_rate", "momentum", "weight_decay"):
        before, after = getattr(parent, name), getattr(child, name)
        if before != after:
            yield f"{name.replace('_', ' ')} {before:g} -> {after:g}"


def _numbers(parent: Genome, child: Genome) -> Iterator[str]:
    if child.batch_size != parent.batch_size:
        yield f"batch size {parent.batch_size} -> {child.batch_size}"
    if child.loss != parent.loss:
        yield f"loss {parent.loss} -> {child.loss}"
    if child.label_smoothing != parent.label_smoothing:
        yield f"label smoothing {parent.label_smoothing:g} -> {child.label_smoothing:g}"


def _places(parent: Genome, child: Genome) -> Iterator[str]:
    for (slot, before), (_, after) in zip(parent.activations, child.activations, strict=True):
        if before != after:
            yield f"{slot}: {before} -> {after}"
    pairs = (*parent.dropout, *parent.noise), (*child.dropout, *child.noise)
    for (layer, value), (_, other) in zip(*pairs, strict=True):
        if value != other:
            yield f"{layer}: {value:g} -> {other:g}"
