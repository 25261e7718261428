"""Randomness is a place: every draw comes from a generator seeded by where it happens."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np

Purpose = Literal["operators", "mutation", "order", "noise", "weights"]
"""What is drawn: mutations, what they make, the order of samples, layers' seeds, fresh weights."""


def draw_seed() -> int:
    """Draw a seed for a user who gave none."""
    return secrets.randbelow(2**31)


def generator(
    seed: int, phase: str, cycle: int, clone: int, purpose: Purpose
) -> np.random.Generator:
    """Return the generator of one place of a run.

    The same place gives the same numbers, whatever was drawn elsewhere, in whatever order.

    Args:
        seed: The run's seed, not negative.
        phase: Which training.
        cycle: The cycle, 0 before the first.
        clone: The clone, 0 where all clones of a cycle shall draw alike.
        purpose: What the numbers are for.

    Returns:
        A fresh generator.
    """
    # Python's own hash of a text is another one in each process.
    phase_number = zlib.crc32(phase.encode())
    purpose_number = zlib.crc32(purpose.encode())
    place = [seed, phase_number, cycle, clone, purpose_number]
    return np.random.default_rng(place)


def position(rng: np.random.Generator) -> dict[str, Any]:
    """Return where a generator is, as JSON can hold it."""
    bits = rng.bit_generator
    spawned = cast(np.random.SeedSequence, bits.seed_seq).n_children_spawned
    return {"state": bits.state, "spawned": spawned}


def move_to(
    rng: np.random.Generator,
    place: Mapping[str, Any],
) -> None:
    """Move a fresh generator to where another one of the same seed was.

    Args:
        rng: It has drawn nothing yet.
        place: What `position` has returned.
    """
    # Children are counted apart from what is drawn.
    rng.spawn(place["spawned"])
    rng.bit_generator.state = place["state"]
