"""What a mutation may return: a user's own is held to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral
from typing import Any

from miha.records import Genome
from miha.space import Space


def completed(genome: Genome, child: Genome, space: Space) -> Genome:
    """Give a new optimizer its own momentum and weight decay, where those of the parent stood."""
    name = child.optimizer
    if name == genome.optimizer or name not in space.optimizers:
        return child
    own = space.with_optimizer(child, name)
    kept = {
        gene: getattr(child, gene)
        for gene in ("momentum", "weight_decay")
        if getattr(child, gene) != getattr(genome, gene)
    }
    return own.replace(learning_rate=child.learning_rate, **kept)


def broken_rule(genome: Genome, child: Genome, space: Space) -> str | None:
    """Return the rule that a mutated genome breaks, if any."""
    rules = {**_optimizer_rules(genome, child, space), **_place_rules(child, space)}
    return next((rule for rule, is_kept in rules.items() if not is_kept), None)


def _optimizer_rules(genome: Genome, child: Genome, space: Space) -> dict[str, bool]:
    rate, size, name = child.learning_rate, child.batch_size, child.optimizer
    is_positive = rate is not None and 0 < rate < inf
    is_size = isinstance(size, Integral) and size >= 1 and size <= space.batch_size[1]
    return {
        f"an optimizer of {list(space.optimizers)}": name in space.optimizers,
        "a positive, finite learning rate": is_positive or rate is None,
        "no learning rate where a schedule decides it, and one where none does": (
            (rate is None) == (genome.learning_rate is None)
        ),
        f"an integer batch size of 1 to {space.batch_size[1]}": is_size,
        f"a batch size that is a multiple of {space.batch_multiple}, the number of devices that a "
        "batch is shared out to": not is_size or size % space.batch_multiple == 0,
        **_number_rule("momentum", child.momentum, space.momentum.get(name, ())),
        **_number_rule("weight_decay", child.weight_decay, space.weight_decay.get(name, ())),
        **_number_rule("loss", child.loss, space.losses),
        **_number_rule("label_smoothing", child.label_smoothing, space.label_smoothing),
    }


def _number_rule(gene: str, value: Any, values: Sequence[Any]) -> dict[str, bool]:
    allowed = list(values) or [None]
    return {f"a {gene} of {allowed} with this optimizer and loss": value in allowed}


def _place_rules(child: Genome, space: Space) -> dict[str, bool]:
    return {
        "the slots of its parent": _places(child.activations) == list(space.slots),
        "activations that their slots may hold": _may_hold(child.activations, space.slots),
        "the Dropout layers of its parent": _places(child.dropout) == list(space.dropout),
        "rates that their layers may have": _may_hold(child.dropout, space.dropout),
        "the GaussianNoise layers of its parent": _places(child.noise) == list(space.noise),
        "standard deviations that their layers may have": _may_hold(child.noise, space.noise),
    }


def _places(pairs: Sequence[tuple[str, Any]]) -> list[str]:
    return [place for place, _ in pairs]


def _may_hold(pairs: Sequence[tuple[str, Any]], space: Mapping[str, Sequence[Any]]) -> bool:
    return all(value in space.get(place, ()) for place, value in pairs)
