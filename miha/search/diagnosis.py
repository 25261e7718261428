"""Diagnosis: what the curves of a network ask for, before its genes are mutated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Literal

from miha.mutations import describe
from miha.records import Change, Epoch, Genome
from miha.space import Space

State = Literal["overfits", "learns", "crawls", "stands still", "unknown"]
"""What a network does, by its training loss and its validation loss."""

EPOCHS = 4
"""Epochs of the past that are looked at."""

GAP = 0.25
"""A network overfits where its training loss is by this share below its validation loss."""

LEARNING_PACE = 0.02
"""A network learns where its validation loss falls by this share in each epoch."""

CRAWLING_PACE = 0.005
"""A network crawls where its training loss falls in each epoch, but by less than this share."""

REGULARISATION = (
    "weight_decay",
    "dropout",
    "noise",
    "label_smoothing",
    "input_noise",
    "augmentation",
)
"""Genes that make a network fit its training data less."""

TRAINING = ("optimizer", "learning_rate", "batch_size")
"""Genes that decide how fast it learns."""

AUGMENTATION = "augmentation"
"""Its layers do not change what an image shows: the usual ones, or those that the user knows."""

FACTORS: Mapping[State, Mapping[str, float]] = {
    "overfits": {
        **dict.fromkeys(REGULARISATION, 3.0),
        **dict.fromkeys(TRAINING, 0.3),
        AUGMENTATION: 9.0,
    },
    "learns": {**dict.fromkeys(REGULARISATION, 0.5), AUGMENTATION: 1.0},
    "crawls": dict.fromkeys(TRAINING, 2.0),
    "stands still": dict.fromkeys(TRAINING, 2.0),
    "unknown": {},
}
"""How often each gene is drawn in a state, compared with how often it is drawn else."""


FASTER = 2.5
"""By what the learning rate of a network that learns, or crawls, is multiplied."""


def asked_for(
    state: State,
    genome: Genome,
    space: Space,
) -> tuple[Genome, Change] | None:
    """Return the clone that a state asks for first; None where it asks for none.

    A network that learns, and does not overfit, may learn faster: at a larger learning rate. One
    that crawls must, or it ends near its beginning.

    Args:
        state: What the network does.
        genome: What it has.
        space: What each gene may become.
    """
    if state not in ("learns", "crawls") or genome.learning_rate is None:
        return None
    rate = space.bounded_rate(genome.learning_rate * FASTER)
    faster = genome.replace(learning_rate=rate)
    if faster == genome:
        return None
    return faster, Change("learning_rate", describe(genome, faster))


def diagnose(epochs: Sequence[Epoch]) -> State:
    """Return what a network does, by its latest epochs.

    Args:
        epochs: Those of its main line, the last one last.
    """
    recent = [epoch for epoch in epochs[-EPOCHS:] if _has_losses(epoch)]
    if len(recent) < 2:
        return "unknown"
    losses = [float(epoch.logs["loss"]) for epoch in recent]
    values = [float(epoch.logs["val_loss"]) for epoch in recent]
    scale = abs(values[-1])
    if not scale or not all(map(isfinite, [*losses, *values])):
        return "unknown"

    gap = (values[-1] - losses[-1]) / scale
    if gap > GAP:
        return "overfits"
    if _fall(values) / scale > LEARNING_PACE:
        return "learns"
    is_steady = all(after < before for before, after in pairwise(losses))
    return "crawls" if is_steady and _fall(losses) / scale < CRAWLING_PACE else "stands still"


def _fall(values: Sequence[float]) -> float:
    """Return by how much values fall in an epoch, in the mean."""
    return (values[0] - values[-1]) / (len(values) - 1)


def _has_losses(epoch: Epoch) -> bool:
    return "loss" in epoch.logs and "val_loss" in epoch.logs
