"""Steps of JAX in a compiled loop, of one network or of several clones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from miha.trainer.base import goes_on
from miha.trainer.genes.switches import Switch
from miha.trainer.jax.sharding import Sharding
from miha.trainer.pace import Pace

State = tuple[list[Any], ...]
"""Values of a network's variables, as Keras' stateless steps take them."""

Logs = Mapping[str, Any]

Step = Callable[[State, Any], tuple[Logs, State]]
"""Keras' stateless `train_step` or `test_step`."""


def in_batches(
    order: np.ndarray,
    batch_size: int,
    pace: Pace,
    take: Callable[[np.ndarray, int, int, int], Logs],
    is_next: Callable[[Logs], Any],
) -> Logs:
    """Take the steps whose batches are full, some at once, then one on what is left.

    Args:
        order: Places of the samples.
        batch_size: Samples a step.
        pace: How many steps to take at once.
        take: ``(order, batch_size, start, stop) -> logs`` takes some.
        is_next: Whether to go on after some logs.

    Returns:
        What the last step logged.
    """
    full, done = len(order) // batch_size, 0
    logs: Logs = {}
    while done < full and is_next(logs):
        steps = min(pace.steps, full - done)
        with pace.measured(steps):
            logs = take(order, batch_size, done, done + steps)
            jax.block_until_ready(logs)
        done += steps
    rest = order[full * batch_size :]
    return take(rest, len(rest), 0, 1) if len(rest) and is_next(logs) else logs


def compiled_loop(
    step: Step,
    choices: Sequence[Switch],
    batch_size: int,
    never_stops: bool,
    sharding: Sharding | None = None,
) -> Any:
    """Return a program that takes steps of one batch size.

    Args:
        step: What a step is.
        choices: The activations that are chosen at run time.
        batch_size: Samples a step.
        never_stops: Whether to go on where a loss is not finite.
        sharding: How batches are shared out to several devices.

    Returns:
        ``(state, data, indices, order, start, stop) -> (logs, state)`` after the last step;
        ``indices`` choose the activations.
    """

    def loop(state: State, data: Any, indices: Any, order: Any, start: Any, stop: Any) -> Any:
        def take(place: Any, state: State) -> tuple[Logs, State]:
            with chosen(choices, indices):
                return step(state, share_out(_batch(data, order, place, batch_size)))

        def is_next(carried: Any) -> Any:
            place, logs, _ = carried
            return (place < stop) & (never_stops | goes_on(logs))

        carried = (jnp.asarray(start), _no_logs(take, start, state), state)
        _, logs, state = lax.while_loop(is_next, lambda c: (c[0] + 1, *take(c[0], c[2])), carried)
        return logs, state

    share_out = _sharing_out(sharding)
    # Else the compiler might leave parts of the state on each device.
    return jax.jit(loop, out_shardings=None if sharding is None else (None, sharding.whole))


def eager_loop(
    step: Step,
    choices: Sequence[Switch],
    batch_size: int,
    never_stops: bool,
    sharding: Sharding | None = None,
) -> Any:
    """Return `compiled_loop` left uncompiled, as the user's `compile` asked."""

    def loop(state: State, data: Any, indices: Any, order: Any, start: int, stop: int) -> Any:
        logs: Logs = {}
        for place in range(start, stop):
            part = order[place * batch_size : (place + 1) * batch_size]
            with chosen(choices, indices):
                batch = jax.tree.map(lambda array, p=part: array[p], data)
                logs, state = step(state, share_out(batch))
            if not (never_stops or goes_on(logs)):
                break
        return logs, state

    share_out = _sharing_out(sharding)
    return loop


def fused_loop(step: Step, choices: Sequence[Switch], batch_size: int, never_stops: bool) -> Any:
    """Return a program that takes steps of several clones on the same batches.

    A clone whose loss is not finite keeps its values from there on, and the others go on.

    Args:
        step: What a step is.
        choices: The activations that are chosen at run time.
        batch_size: Samples a step.
        never_stops: Whether to go on where a loss is not finite.

    Returns:
        ``(state, alive, data, indices, order, start, stop) -> (logs, state)``, where a first
        axis of ``state``, ``alive``, ``indices`` and ``logs`` counts clones. The buffers of
        ``state`` are used up.
    """
    many = step_of_many(step, choices)

    def loop(
        state: State, alive: Any, data: Any, indices: Any, order: Any, start: Any, stop: Any
    ) -> Any:
        def take(place: Any, state: State) -> tuple[Logs, State]:
            return many(state, indices, _batch(data, order, place, batch_size))

        def take_alive(carried: Any) -> Any:
            place, alive, logs, state = carried
            new = take(place, state)
            if never_stops:
                return place + 1, alive, *new
            logs, state = jax.tree.map(lambda n, o: select(alive, n, o), new, (logs, state))
            return place + 1, alive & jax.vmap(goes_on)(logs), logs, state

        def is_next(carried: Any) -> Any:
            return (carried[0] < stop) & carried[1].any()

        carried = (jnp.asarray(start), alive, _no_logs(take, start, state), state)
        return lax.while_loop(is_next, take_alive, carried)[2:]

    return jax.jit(loop, donate_argnums=0)


def step_of_many(step: Step, choices: Sequence[Switch]) -> Callable[..., tuple[Logs, State]]:
    """Return ``(state, indices, batch) -> (logs, state)`` of several clones on one batch."""

    def step_of_one(state: State, indices: Any, batch: Any) -> tuple[Logs, State]:
        with chosen(choices, indices):
            return step(state, batch)

    many: Callable[..., tuple[Logs, State]] = jax.vmap(step_of_one, (0, 0, None))
    return many


def select(alive: Any, new: Any, old: Any) -> Any:
    """Choose between two stacks of values for each clone."""
    return jnp.where(alive.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _sharing_out(sharding: Sharding | None) -> Callable[[Any], Any]:
    return (lambda batch: batch) if sharding is None else sharding.share_out


def _batch(data: Any, order: Any, place: Any, batch_size: int) -> Any:
    part = lax.dynamic_slice(order, (place * batch_size,), (batch_size,))
    return jax.tree.map(lambda array: array[part], data)


def _no_logs(take: Callable[..., tuple[Logs, State]], start: Any, state: State) -> Logs:
    shapes, _ = jax.eval_shape(take, start, state)
    logs: Logs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return logs


@contextlib.contextmanager
def chosen(choices: Sequence[Switch], indices: Sequence[Any]) -> Iterator[None]:
    """Let indices be arguments of the program that is traced, and no constants in it."""
    variables = [choice.index for choice in choices]
    try:
        for choice, index in zip(choices, indices, strict=True):
            choice.index = index
        yield
    finally:
        for choice, variable in zip(choices, variables, strict=True):
            choice.index = variable
