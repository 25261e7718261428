"""The rules that arguments must keep, checked before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, get_args

from miha.callbacks import Callback
from miha.errors import ArgumentError
from miha.folder import Keep
from miha.keras_callbacks import check_keras_callback, is_keras_callback
from miha.mutations import Mutation, mutate
from miha.randomness import generator
from miha.records import Genome, Mode, Schedule
from miha.space import SearchSpace, Space


def check_schedule(schedule: Schedule, control: bool) -> None:
    """Raise unless the schedule's numbers make a run.

    Raises:
        ArgumentError: One is no integer or too small.
    """
    for name, low in (("m", 1), ("n", 1), ("k", 0), ("c", 0), ("pop_size", 1)):
        check_integer(name, getattr(schedule, name), low)
    if control and schedule.pop_size < 2:
        raise ArgumentError(
            "`pop_size` must be at least 2 when clone 0 is the unchanged control. "
            f"Received: pop_size={schedule.pop_size}. Raise it, or set control=False."
        )


def check_integer(name: str, value: Any, low: int) -> int:
    """Return an integer of at least ``low``.

    Raises:
        ArgumentError: It is not.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ArgumentError(
            f"`{name}` must be an integer >= {low}. Received: {name}={value!r}. "
            "Give a whole number."
        )
    return int(value)


def check_batch_size(name: str, value: Any, samples: int) -> int:
    """Return a batch size that fits the data.

    Raises:
        ArgumentError: It does not.
    """
    check_integer(name, value, 1)
    if value > samples:
        raise ArgumentError(
            f"`{name}` must not exceed the number of samples. "
            f"Received: {name}={value} for {samples} samples. Choose a smaller one."
        )
    return int(value)


def check_choices(keep: Any, mode: Any, verbose: Any, callbacks: Sequence[Any]) -> None:
    """Raise unless the arguments that choose one of a few things do.

    Raises:
        ArgumentError: One does not.
    """
    _check_one_of("keep", keep, get_args(Keep))
    _check_one_of("mode", mode, ("auto", *get_args(Mode)))
    _check_one_of("verbose", verbose, (0, 1, 2))
    for callback in callbacks:
        if is_keras_callback(callback):
            check_keras_callback(callback)
        elif not isinstance(callback, Callback):
            raise ArgumentError(
                "`callbacks` must be a list of `miha.Callback` and of callbacks of Keras. "
                f"Received: {type(callback)}. Derive your class from `miha.Callback`."
            )


def check_search(space: Any, fitness: Any) -> None:
    """Raise unless search space and fitness are what they must be.

    Raises:
        ArgumentError: One is not.
    """
    if space is not None and not isinstance(space, SearchSpace):
        raise ArgumentError(
            f"`space` must be a `miha.SearchSpace`. Received: {type(space)}. "
            "Write space=miha.SearchSpace(optimizers=[...], ...)."
        )
    if fitness is not None and not callable(fitness):
        raise ArgumentError(
            f"`fitness` must be callable, from a `miha.Curve` to a number. Received: {fitness!r}. "
            "The default is miha.LevelAndSlope()."
        )


def check_mutations(
    mutations: Sequence[Mutation], genome: Genome, space: Space, schedule: Schedule
) -> None:
    """Raise unless there is something to mutate.

    Raises:
        ArgumentError: No mutation can change the network.
    """
    if schedule.c:
        if not mutations:
            raise ArgumentError(
                "`mutations` must leave something to mutate. Received: none that this network "
                "allows. Name more mutations, or set c=0 to train without."
            )
        mutate(genome, mutations, space, generator(0, "clone", 0, 0, "mutation"))


def resolve_monitor(name: str, mode: str, metrics: Mapping[str, Mode | None]) -> tuple[str, Mode]:
    """Find the value to monitor and the direction in which it is better.

    Args:
        name: The value's name.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        metrics: The values that are logged, and their directions where known.

    Returns:
        Name and direction.

    Raises:
        ArgumentError: There is no such value, or its direction is not known.
    """
    if name not in metrics:
        raise ArgumentError(
            f"`monitor` must name a value that is logged: {list(metrics)}. "
            f"Received: monitor={name!r}. Add the metric in `compile`, or validation data."
        )
    directions: dict[str, Mode | None] = {"auto": metrics[name], "min": "min", "max": "max"}
    direction = directions[mode]
    if direction is not None:
        return name, direction
    raise ArgumentError(
        f"`mode` must tell whether {name!r} is better small or large, since Keras does not. "
        f"Received: mode={mode!r}. Set mode='min' or mode='max'."
    )


def _check_one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ArgumentError(
            f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}. Choose one."
        )
