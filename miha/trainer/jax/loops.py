"""Steps of JAX in a compiled loop, of one network or of several clones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import lax
from jax import numpy as jnp

from miha.trainer.base import Logs, should_continue
from miha.trainer.genes.activations import Activation
from miha.trainer.genes.switches import Switch
from miha.trainer.programs import Pace

State = tuple[list[Any], ...]
"""Values of a network's variables, as Keras' stateless steps take them."""

Step = Callable[[State, Any], tuple[Logs, State]]
"""Keras' stateless `train_step` or `test_step`."""


class Sharding:
    """Where values lie: data and state whole on every device, a batch in equal parts.

    Args:
        distribution: The user's `keras.distribution.DataParallel`.
    """

    def __init__(self, distribution: Any) -> None:
        self.devices = int(distribution.num_model_replicas)
        self._distribution = distribution
        layout = keras.distribution.TensorLayout([], distribution.device_mesh)
        self.whole = layout.backend_layout

    def spread(self, data: Any) -> Any:
        """Bring a structure of arrays to every device; what is there, stays."""
        return jax.device_put(data, self.whole)

    def share_out(self, batch: Any) -> Any:
        """Return a batch in equal parts, in a compiled step or outside.

        One that has no equal parts, as the last of an epoch, is whole on every device.
        """
        return jax.tree.map(self._share_out, batch)

    def _share_out(self, array: Any) -> Any:
        if len(array) % self.devices:
            return array
        layout = self._distribution.get_data_layout(array.shape)
        return keras.distribution.distribute_tensor(array, layout)


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
        is_next: Whether another step may follow, from the logs of the last one.
    """
    full = len(order) // batch_size
    done = 0
    logs: Logs = {}
    while done < full and is_next(logs):
        steps = min(pace.steps, full - done)
        with pace.measure(steps):
            logs = take(order, batch_size, done, done + steps)
            jax.block_until_ready(logs)
        done += steps

    rest = order[full * batch_size :]
    if len(rest) and is_next(logs):
        logs = take(rest, len(rest), 0, 1)
    return logs


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
        choices: What is chosen at run time: activations and other genes.
        batch_size: Samples a step.
        never_stops: Whether to continue where a loss is not finite.
        sharding: How batches are shared out to several devices.

    Returns:
        ``(state, data, indices, order, start, stop) -> (logs, state)`` after the last step;
        ``indices`` are those of the choices.
    """

    def loop(
        state: State,
        data: Any,
        indices: Any,
        order: Any,
        start: Any,
        stop: Any,
    ) -> tuple[Logs, State]:
        def take(place: Any, state: State) -> Any:
            batch = _batch(data, order, place, batch_size)
            if sharding is not None:
                batch = sharding.share_out(batch)
            with as_arguments(choices, indices):
                return step(state, batch)

        def is_next(carried: Any) -> Any:
            place, logs, _ = carried
            return (place < stop) & (never_stops | should_continue(logs))

        def take_next(carried: Any) -> Any:
            place, _, state = carried
            logs, state = take(place, state)
            return place + 1, logs, state

        start = jnp.asarray(start)
        carried = (start, _no_logs(take, start, state), state)
        _, logs, state = lax.while_loop(is_next, take_next, carried)
        return logs, state

    # Else the compiler might leave parts of the state on each device.
    shardings = None if sharding is None else (None, sharding.whole)
    return jax.jit(loop, out_shardings=shardings)


def eager_loop(
    step: Step,
    choices: Sequence[Switch],
    batch_size: int,
    never_stops: bool,
    sharding: Sharding | None = None,
) -> Any:
    """Return `compiled_loop` left uncompiled, as the user's `compile` asked."""

    def loop(
        state: State,
        data: Any,
        indices: Any,
        order: Any,
        start: int,
        stop: int,
    ) -> tuple[Logs, State]:
        logs: Logs = {}
        for place in range(start, stop):
            part = order[place * batch_size : (place + 1) * batch_size]
            batch = rows(data, part)
            if sharding is not None:
                batch = sharding.share_out(batch)
            with as_arguments(choices, indices):
                logs, state = step(state, batch)
            if not (never_stops or should_continue(logs)):
                break
        return logs, state

    return loop


def fused_loop(
    step: Step,
    choices: Sequence[Switch],
    batch_size: int,
    never_stops: bool,
) -> Any:
    """Return a program that takes steps of several clones on the same batches.

    A clone whose loss is not finite keeps its values from there on, and the others continue.
    The arguments are those of `compiled_loop`.

    Returns:
        ``(state, alive, data, indices, order, start, stop) -> (logs, state)``, where a first
        axis of ``state``, ``alive``, ``indices`` and ``logs`` counts clones. The buffers of
        ``state`` are used up.
    """
    many = step_of_many(step, choices)

    def loop(
        state: State,
        alive: Any,
        data: Any,
        indices: Any,
        order: Any,
        start: Any,
        stop: Any,
    ) -> tuple[Logs, State]:
        def take(place: Any, state: State) -> Any:
            return many(state, indices, _batch(data, order, place, batch_size))

        def take_alive(carried: Any) -> Any:
            place, alive, logs, state = carried
            new = take(place, state)
            if never_stops:
                return place + 1, alive, *new
            logs, state = select(alive, new, (logs, state))
            alive = alive & jax.vmap(should_continue)(logs)
            return place + 1, alive, logs, state

        def is_next(carried: Any) -> Any:
            place, alive, _, _ = carried
            return (place < stop) & alive.any()

        start = jnp.asarray(start)
        carried = (start, alive, _no_logs(take, start, state), state)
        _, _, logs, state = lax.while_loop(is_next, take_alive, carried)
        return logs, state

    return jax.jit(loop, donate_argnums=0)


def step_of_many(
    step: Step,
    choices: Sequence[Switch],
) -> Any:
    """Return ``(state, indices, batch) -> (logs, state)`` of several clones on one batch."""

    def step_of_one(
        state: State,
        indices: Any,
        batch: Any,
    ) -> Any:
        with as_arguments(choices, indices):
            return step(state, batch)

    return jax.vmap(step_of_one, (0, 0, None))


def select(
    alive: Any,
    new: Any,
    old: Any,
) -> Any:
    """Choose between two structures of stacked values for each clone."""

    def choose(new: Any, old: Any) -> Any:
        ones = [1] * (new.ndim - 1)
        mask = alive.reshape(-1, *ones)
        return jnp.where(mask, new, old)

    return jax.tree.map(choose, new, old)


def switch_elementwise(
    index: Any,
    functions: Sequence[Activation],
    values: Any,
) -> Any:
    """Apply the chosen one of some elementwise functions, as `keras.ops.switch` would.

    `lax.switch` keeps what the derivative of any branch may need; this keeps the input alone.
    Under `jax.vmap` it becomes a selection among the values of all branches, in whose derivative
    zero times an infinite one is not a number; here the derivative is selected before it is
    multiplied, so that only the chosen branch counts.
    """
    slopes = [_slope_of(function) for function in functions]

    def apply(index: Any, values: Any) -> Any:
        return lax.switch(index, functions, values)

    def derive(primals: Any, tangents: Any) -> Any:
        index, values = primals
        slope = lax.switch(index, slopes, values)
        return differentiable(index, values), slope * tangents[1]

    differentiable = jax.custom_jvp(apply)
    differentiable.defjvp(derive)
    return differentiable(index, jnp.asarray(values))


@contextlib.contextmanager
def as_arguments(
    choices: Sequence[Switch],
    indices: Sequence[Any],
) -> Iterator[None]:
    """Let indices be arguments of the program that is traced, and no constants in it."""
    variables = [choice.index for choice in choices]
    try:
        for choice, index in zip(choices, indices, strict=True):
            choice.index = index
        yield
    finally:
        for choice, variable in zip(choices, variables, strict=True):
            choice.index = variable


def _slope_of(function: Activation) -> Activation:
    def slope(values: Any) -> Any:
        # Backward, since a function with a custom gradient may have no other derivative.
        result, backward = jax.vjp(function, values)
        return backward(jnp.ones_like(result))[0]

    return slope


def _batch(
    data: Any,
    order: Any,
    place: Any,
    batch_size: int,
) -> Any:
    start = place * batch_size
    part = lax.dynamic_slice(order, (start,), (batch_size,))
    return rows(data, part)


def rows(data: Any, places: Any) -> Any:
    """Return some rows of each array of a structure."""
    return jax.tree.map(lambda array: array[places], data)


def _no_logs(
    take: Callable[..., Any],
    start: Any,
    state: State,
) -> Any:
    shapes, _ = jax.eval_shape(take, start, state)

    def zeros(leaf: Any) -> Any:
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(zeros, shapes)
