"""The rules that arguments must keep, checked before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral, Real
from typing import Any, get_args

from miha.callbacks import Callback
from miha.errors import ArgumentError
from miha.integrations.keras_checks import check_keras_callback, is_keras_callback
from miha.mutations import Mutation, mutate
from miha.randomness import generator
from miha.records import Genome, Mode, Schedule
from miha.space import SearchSpace, Space
from miha.storage.folder import Keep

SHARE = 0.75
"""Of a population, what must have come before an asynchronous run goes on, if not told."""


def check_switches(
    schedule: Schedule,
    is_away: bool,
    restarts: Any,
    margin: Any,
    backtrack: Any,
    asynchronous: Any,
    **parts: Any,
) -> dict[str, Any]:
    """Return which parts of the search are on, and how much of them, as a `Plan` takes them.

    Args:
        schedule: The run's.
        is_away: Whether clones train on workers.
        restarts: In how many cycles a clone begins anew.
        margin: By how many times its noise a mutant must be better than the control.
        backtrack: The share by which the network may be worse than the best one, or None.
        asynchronous: The share of a population that a cycle waits for, or whether it does.
        parts: Those that are on or off.

    Raises:
        ArgumentError: One is not what it must be, or does not go with another one.
    """
    on = {name: bool(value) for name, value in parts.items()}
    check_schedule(schedule, on["control"])
    check_crossover(on["crossover"], schedule.pop_size)
    check_racing(on["racing"], schedule)
    return on | {
        "restarts": check_integer("restarts", restarts, 0),
        "margin": check_share("margin", margin) or 0.0,
        "backtrack": check_share("backtrack", backtrack),
        "asynchronous": check_asynchronous(asynchronous, is_away, on["racing"], on["crossover"]),
    }


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


def check_crossover(crossover: bool, pop_size: int) -> None:
    """Raise unless there are two clones that could join.

    Raises:
        ArgumentError: There are not.
    """
    if crossover and pop_size < 2:
        raise ArgumentError(
            "`pop_size` must be at least 2 where two clones join. "
            f"Received: crossover=True with pop_size={pop_size}. Raise it, or set crossover=False."
        )


def check_racing(racing: bool, schedule: Schedule) -> None:
    """Raise unless there is something to race for.

    Raises:
        ArgumentError: There is not.
    """
    if racing and (schedule.n < 2 or schedule.pop_size < 2):
        raise ArgumentError(
            "`racing` needs n >= 2 epochs to stop within, and pop_size >= 2. "
            f"Received: n={schedule.n} and pop_size={schedule.pop_size}. "
            "Raise them, or set racing=False."
        )


def check_population(population: Any, is_away: bool) -> None:
    """Raise where clones shall train in one program, and on several workers.

    Raises:
        ArgumentError: They shall.
    """
    if population == "fused" and is_away:
        raise ArgumentError(
            "`population` must not be 'fused' where clones train on workers, one on each. "
            "Received: both. Leave `population` out, or set executor='local'."
        )


def check_asynchronous(
    asynchronous: Any, is_away: bool, racing: bool, crossover: bool
) -> float | None:
    """Return the share of a population to wait for; None for all of it.

    Raises:
        ArgumentError: It is no share, or the run has nothing that could be late.
    """
    if asynchronous is False:
        return None
    share: Any = SHARE if asynchronous is True else asynchronous
    if not isinstance(share, Real) or not 0 < float(share) < 1:
        raise ArgumentError(
            "`asynchronous` must be True, False, or the share of a population to wait for, above "
            f"0 and below 1. Received: asynchronous={asynchronous!r}. True is {SHARE:g}."
        )
    others = {"executor='local'": not is_away, "racing=True": racing, "crossover=True": crossover}
    if found := [name for name, is_so in others.items() if is_so]:
        raise ArgumentError(
            "`asynchronous` needs workers, each of which trains whole clones that are compared "
            f"once. Received: asynchronous={asynchronous!r} with {' and '.join(found)}. Give "
            "executor='ray', and leave racing and crossover out; or leave `asynchronous` out."
        )
    return float(share)


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


def check_share(name: str, value: Any) -> float | None:
    """Return a share, or None where that was given.

    Raises:
        ArgumentError: It is negative, not finite or no number.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < inf):
        raise ArgumentError(
            f"`{name}` must be a number >= 0, or None. Received: {name}={value!r}. "
            "Give a share such as 0.05."
        )
    return None if value is None else float(value)


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


def choose_batch_size(value: Any, own: int | None, rebatches: bool, samples: int) -> int:
    """Return the batch size to begin with.

    Args:
        value: What the user asks for, or None.
        own: The size of the batches that the data comes in, or None.
        rebatches: Whether it can be put into others.
        samples: How many there are.

    Raises:
        ArgumentError: It does not fit the data.
    """
    if own is not None and (value is None or not rebatches):
        return own
    return check_batch_size("batch_size", 32 if value is None else value, samples)


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


def check_ruler(monitor: str, space: Space) -> None:
    """Raise where clones would be compared by what they mutate.

    Raises:
        ArgumentError: The training loss is monitored, and may itself mutate.
    """
    if monitor == "loss" and (space.losses or space.label_smoothing):
        raise ArgumentError(
            "`monitor` must not be the training loss where the loss mutates: clones would be "
            "measured by different losses. Received: monitor='loss'. Monitor 'val_loss', or "
            "'eval_loss' without validation data."
        )


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
