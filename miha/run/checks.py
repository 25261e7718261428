"""The rules that arguments must keep together, checked before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, get_args

from miha.callbacks import Callback
from miha.errors import ArgumentError
from miha.integrations.keras_checks import check_keras_callback, is_keras_callback
from miha.mutations import Mutation, mutate
from miha.options import Budget, Search
from miha.randomness import generator
from miha.records import Genome, Mode, Schedule
from miha.space import SearchSpace, Space
from miha.storage.folder import Keep
from miha.utils.suggest import did_you_mean
from miha.validation import check_one_of


def check_choices(
    keep: Any,
    mode: Any,
    verbose: Any,
    monitor: Any = None,
    logs: Any = None,
) -> None:
    """Raise unless the arguments that choose one of a few things do, or name one.

    Raises:
        ArgumentError: One does not.
    """
    check_one_of("keep", keep, get_args(Keep))
    check_one_of("mode", mode, ("auto", *get_args(Mode)))
    check_one_of("verbose", verbose, ("auto", 0, 1, 2))
    if not isinstance(monitor, str | None):
        raise ArgumentError(
            "`monitor` must be the name of a logged value. "
            f"Received: monitor={monitor!r}. Example: monitor='val_loss'."
        )
    if not isinstance(logs, str | PathLike | None):
        raise ArgumentError(
            f"`logs` must be the path of a folder. Received: logs={logs!r}. "
            "Example: logs='logs/mnist'."
        )


def check_final_data(search: Search, budget: Budget) -> None:
    """Raise where validation data shall be trained on, and decide when a run ends.

    Raises:
        ArgumentError: It shall.
    """
    if search.final_data == "all" and budget.target is not None:
        raise ArgumentError(
            "`final_data` must not be 'all' where a target ends a run: it then ends without the "
            "last epochs, which alone take all data. Received: final_data='all' and "
            f"target={budget.target!r}. Leave one of them out."
        )


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return who watches as a list; as in `fit`, a single one needs none, and None is nobody.

    Raises:
        ArgumentError: One is no callback.
    """
    if callbacks is None:
        return []
    found = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
    for callback in found:
        if is_keras_callback(callback):
            check_keras_callback(callback)
        elif not isinstance(callback, Callback):
            # A class is not yet a callback: `fit` does not take one, either.
            is_class = isinstance(callback, type)
            received = callback if is_class else type(callback)
            cure = "Call it: callbacks=[...()]" if is_class else "Derive it from `miha.Callback`"
            raise ArgumentError(
                "`callbacks` must be a list of `miha.Callback` and of callbacks of Keras. "
                f"Received: {received}. {cure}."
            )
    return found


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
    mutations: Sequence[Mutation],
    genome: Genome,
    space: Space,
    schedule: Schedule,
) -> None:
    """Raise unless there is something to mutate.

    Raises:
        ArgumentError: No mutation can change the network.
    """
    if schedule.c == 0:
        return
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
    if monitor == "loss" and space.label_smoothing:
        raise ArgumentError(
            "`monitor` must not be the training loss where the loss mutates: clones would be "
            "measured by different losses. Received: monitor='loss'. Monitor 'val_loss', or "
            "'eval_loss' without validation data."
        )


def resolve_monitor(
    name: str,
    mode: str,
    metrics: Mapping[str, Mode | None],
) -> tuple[str, Mode]:
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
            f"Received: monitor={name!r}.{did_you_mean(name, metrics)} "
            "Add the metric in `compile`, or validation data."
        )
    directions: dict[str, Mode | None] = {"auto": metrics[name], "min": "min", "max": "max"}
    direction = directions[mode]
    if direction is not None:
        return name, direction
    raise ArgumentError(
        f"`mode` must tell whether {name!r} is better small or large, since Keras does not. "
        f"Received: mode={mode!r}. Set mode='min' or mode='max'."
    )
