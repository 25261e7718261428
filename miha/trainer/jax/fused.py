"""Clones that train together on JAX: their values stacked, for one program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from miha.trainer.base import Kind, Logs, spread
from miha.trainer.jax.loops import State, rows, select


@dataclass
class Clones:
    """The values of clones, along the first axis of every array.

    Attributes:
        state: Trainable variables, other variables, and the optimizer's.
        indices: What each has chosen: activations and other genes.
        alive: Which still train: not padding, and a finite loss.
        metrics: Values of the metrics.
        logs: What the last steps logged.
    """

    state: State
    indices: list[Any]
    alive: np.ndarray
    metrics: list[Any] = field(default_factory=list)
    logs: Logs = field(default_factory=dict)

    @property
    def number(self) -> int:
        """How many there are, padding included."""
        return len(self.alive)

    def begin(self, metrics: Sequence[Any]) -> None:
        """Give all clones the same values of the metrics, and no logs yet."""
        self.metrics = [_repeated(value, self.number) for value in metrics]
        self.logs = {}

    def take(
        self,
        kind: Kind,
        loop: Any,
        data: Any,
        indices: Sequence[Any],
        order: Any,
        start: int,
        stop: int,
    ) -> Logs:
        """Take steps of every clone that still trains, or evaluate all; return their logs.

        ``loop`` is a program that `fused_loop` made. The arguments after it are the program's.
        """
        is_training = kind == "train"
        alive = self.alive if is_training else np.ones_like(self.alive)
        # A test step knows no optimizer.
        known = 3 if is_training else 2
        state = (*self.state[:known], self.metrics)
        mask = jnp.asarray(alive)
        logs, state = loop(state, mask, data, indices, order, start, stop)
        *new, self.metrics = state
        self.state = (*new, *self.state[known:])

        # A clone that takes no steps keeps what it has logged.
        before = self.logs or logs
        self.logs = select(alive, logs, before)
        logged = spread(self.logs)
        if is_training and "loss" in logged:
            loss = np.asarray(logged["loss"], "float32")
            losses = loss.reshape(self.number, -1)
            self.alive = alive & np.isfinite(losses).all(1)
        return self.logs

    def values_of(self, place: int) -> State:
        """Copy the values of one clone to where they last."""
        values = _taken(self.state, place)
        copied: State = jax.tree.map(np.array, values)
        return copied


def stack(states: Sequence[State]) -> State:
    """Stack the values of clones; what they share is copied on the device only."""
    stacked: State = jax.tree.map(_stack, *states)
    return stacked


def padded(number: int) -> int:
    """Return the next power of two, so that few programs serve groups of every size."""
    return 1 << max(number - 1, 0).bit_length()


def _stack(*arrays: Any) -> Any:
    first = arrays[0]
    is_shared = all(array is first for array in arrays)
    if is_shared:
        return _repeated(first, len(arrays))
    return jnp.stack(arrays)


def _repeated(value: Any, number: int) -> Any:
    # Each needs its own buffer, since a program uses it up.
    return jnp.repeat(value[None], number, 0)


_taken = jax.jit(rows)
