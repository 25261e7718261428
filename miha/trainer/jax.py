"""The JAX trainer: Keras' stateless `train_step` in a compiled loop."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import lax
from jax import numpy as jnp

from miha.trainer.base import KerasTrainer, Kind, goes_on
from miha.trainer.choices import Choice
from miha.trainer.optimizers import name_of
from miha.trainer.pace import Pace

State = tuple[list[Any], ...]
"""Values of a network's variables, as Keras' stateless steps take them."""

Logs = Mapping[str, Any]


class JaxTrainer(KerasTrainer):
    """Trains one live Keras network on JAX.

    The epoch is a compiled loop over Keras' own stateless `train_step`. JAX compiles for fixed
    shapes: there is a program for each optimizer class and batch size, and one more where
    the last batch is smaller, made when it is first needed. Activations and their like are
    chosen at run time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loops: dict[tuple[str, int], Any] = {}
        self._paces: dict[tuple[str, int], Pace] = defaultdict(Pace)

    @property
    def device(self) -> str:
        """See `Trainer`."""
        kinds = ", ".join(dict.fromkeys(device.device_kind for device in jax.devices()))
        return f"JAX {jax.__version__} on {'CPU' if kinds == 'cpu' else kinds}"

    @property
    def traces(self) -> int:
        """See `Trainer`."""
        loops = [] if self._is_eager else self._loops.values()
        return sum(loop._cache_size() for loop in loops)

    @property
    def _is_eager(self) -> bool:
        """Whether `fit` compiles nothing, as the user's `compile` asked or a layer demands."""
        return bool(self._network.run_eagerly or not self._network.jit_compile)

    @classmethod
    def probe(cls, network: keras.Model, batch: Any) -> Logs:
        """See `KerasTrainer`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        logs: Logs = network.test_on_batch(x, y, sample_weight, return_dict=True)
        return logs

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Logs:
        full = len(order) // batch_size
        logs: Logs = {}
        if full:
            logs = self._full_steps(kind, order, batch_size, full)
        rest = order[full * batch_size :]
        if len(rest) and (kind == "test" or goes_on(logs)):
            logs = self._take(kind, rest, len(rest), 0, 1)
        return logs

    def _full_steps(self, kind: Kind, order: np.ndarray, batch_size: int, full: int) -> Logs:
        """Take the steps whose batches are full, some at once."""
        pace, done = self._paces[kind, batch_size], 0
        logs: Logs = {}
        while done < full and (kind == "test" or goes_on(logs)):
            steps = min(pace.steps, full - done)
            with pace.measured(steps):
                logs = self._take(kind, order, batch_size, done, done + steps)
                jax.block_until_ready(logs)
            done += steps
        return logs

    def _take(self, kind: Kind, order: np.ndarray, batch_size: int, start: int, stop: int) -> Logs:
        """Take the steps from one to another, and give their values to the network."""
        indices = [choice.index.value for choice in self._choices]
        variables = self._variables(kind)
        state = tuple([variable.value for variable in group] for group in variables)
        loop = self._loop(kind, batch_size)
        logs: Logs
        logs, state = loop(state, self._sources[kind], indices, jnp.asarray(order), start, stop)
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return logs

    def _variables(self, kind: Kind) -> tuple[list[Any], ...]:
        """Return the variables of a step's state, in Keras' order."""
        network = self._network
        first = (network.trainable_variables, network.non_trainable_variables)
        optimizer = (network.optimizer.variables,) if kind == "train" else ()
        return (*first, *optimizer, network.metrics_variables)

    def _loop(self, kind: Kind, batch_size: int) -> Any:
        """Return the compiled loop; `train_step` binds the optimizer when it is traced."""
        name = f"train {name_of(self._network.optimizer)}" if kind == "train" else kind
        if (name, batch_size) not in self._loops:
            step = self._network.train_step if kind == "train" else self._network.test_step
            make = _eager_loop if self._is_eager else _compiled_loop
            self._loops[name, batch_size] = make(step, self._choices, batch_size, kind == "test")
        return self._loops[name, batch_size]


def _compiled_loop(
    step: Callable[[State, Any], tuple[Logs, State]],
    choices: Sequence[Choice],
    batch_size: int,
    never_stops: bool,
) -> Any:
    """Return a program that takes steps of one batch size.

    Args:
        step: Keras' stateless `train_step` or `test_step`.
        choices: What is chosen at run time.
        batch_size: Samples a step.
        never_stops: Whether to go on where a loss is not finite.

    Returns:
        ``(state, data, indices, order, start, stop) -> (logs, state)`` after the last step;
        ``indices`` are the choices.
    """

    def loop(state: State, data: Any, indices: Any, order: Any, start: Any, stop: Any) -> Any:
        def take(place: Any, state: State) -> tuple[Logs, State]:
            part = lax.dynamic_slice(order, (place * batch_size,), (batch_size,))
            with _chosen(choices, indices):
                return step(state, jax.tree.map(lambda array: array[part], data))

        def is_next(carried: Any) -> Any:
            place, logs, _ = carried
            return (place < stop) & (never_stops | goes_on(logs))

        shapes, _ = jax.eval_shape(take, start, state)
        logs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        carried = (jnp.asarray(start), logs, state)
        _, logs, state = lax.while_loop(is_next, lambda c: (c[0] + 1, *take(c[0], c[2])), carried)
        return logs, state

    return jax.jit(loop)


def _eager_loop(
    step: Callable[[State, Any], tuple[Logs, State]],
    choices: Sequence[Choice],
    batch_size: int,
    never_stops: bool,
) -> Any:
    """Return `_compiled_loop` left uncompiled, as the user's `compile` asked."""

    def loop(state: State, data: Any, indices: Any, order: Any, start: int, stop: int) -> Any:
        logs: Logs = {}
        for place in range(start, stop):
            part = order[place * batch_size : (place + 1) * batch_size]
            with _chosen(choices, indices):
                logs, state = step(state, jax.tree.map(lambda array, p=part: array[p], data))
            if not (never_stops or goes_on(logs)):
                break
        return logs, state

    return loop


@contextlib.contextmanager
def _chosen(choices: Sequence[Choice], indices: Sequence[Any]) -> Iterator[None]:
    """Let indices be arguments of the program that is traced, and no constants in it."""
    variables = [choice.index for choice in choices]
    try:
        for choice, index in zip(choices, indices, strict=True):
            choice.index = index
        yield
    finally:
        for choice, variable in zip(choices, variables, strict=True):
            choice.index = variable
