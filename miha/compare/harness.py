"""`compare`: the same budget for every strategy, from the same starts, on the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from rich.console import Console

from miha.compare.cells import Score
from miha.compare.comparison import Comparison
from miha.compare.configurations import DEFAULT_SPACE, ConfigurationSpace, default_starts
from miha.compare.plan import Plan
from miha.compare.strategies import strategies_of
from miha.compare.strategies.base import Strategy
from miha.compare.task import BuildModel, Data
from miha.errors import ArgumentError
from miha.records import Genome, Mode
from miha.space import SearchSpace
from miha.utils.optional import need
from miha.utils.spawned import refuse_unguarded

LARGE = ("acc", "auc", "precision", "recall", "f1", "iou", "r2", "psnr", "ssim")
"""Parts of the names of values that are better large."""


def compare(
    build_model: BuildModel,
    data: Data,
    strategies: Sequence[str | Strategy] | None = None,
    *,
    starts: Mapping[str, Genome | None] | None = None,
    space: SearchSpace | None = None,
    epochs: int = 200,
    seeds: int | Sequence[int] = 5,
    time_limit: float | None = None,
    monitor: str = "val_loss",
    mode: str = "auto",
    score: Score | None = None,
    metric: str | None = None,
    metric_mode: str = "auto",
    logs: str | Path = "logs/compare",
    overwrite: bool = False,
    isolate: bool = True,
    keep_models: bool = False,
    verbose: int = 1,
) -> Comparison:
    """Give several strategies the same budget, and score what each of them picks.

    Every strategy trains the same network family on the same data, from the same start, for as
    many epochs: those of all its networks together, pruned ones with what they were trained. The
    test data are looked at once for each cell (a start, a strategy, a seed), when the strategy has
    returned the network that its validation data picked.

    Called again with the same arguments, it goes on where it was interrupted; more seeds, starts
    and strategies may be added (a start only where the space holds it already, or it would be
    another space). Cells that have failed are tried again.

    Args:
        build_model: From a genome to a compiled `keras.Model`: ``genome.optimizer``,
            ``genome.learning_rate`` and ``dict(genome.activations)`` say how. Layers whose
            activation is chosen are named as the genome names them.
        data: Training, validation and test data, each ``(x, y)``, arrays.
        strategies: Names of `miha.compare.CATALOGUE`, and `Strategy` objects; None: all. Those
            whose packages are not installed are left out, with a line that says so.
        starts: Configurations to begin with, by name; None: one drawn at random for each seed.
            By default ``space.layers`` names the layers, and there are three: ``"good"``
            (Adam at 0.001, batch size 32, relu), ``"poor"`` (SGD at 0.01, 128, sigmoid), as near
            as the space allows, and ``"random"``.
        space: What all strategies choose from; of it, optimizers, activations, batch size, learning
            rate, noise on inputs and augmentation count. By default a learning rate of 1e-4 to
            0.1, a batch size of 8 to 256, all optimizers and activations of MIHA, its noise on
            inputs of floats, and its augmentation of images with classes.
        epochs: The budget of each cell, at least 2.
        seeds: Seeds, or how many from 0 on. Cells with the same seed begin with the same weights.
        time_limit: Seconds after which a cell ends with the epoch at hand, and MIHA with its last
            m epochs; None: any number.
        monitor: Name of the logged value that decides, on the validation data.
        mode: ``"min"`` or ``"max"``: how it is better; ``"auto"``: by its name.
        score: From a network, test inputs and test targets to scores by name; by default what
            `evaluate` returns.
        metric: Name of the score that counts; the monitored one by default.
        metric_mode: How it is better, likewise.
        logs: The comparison's folder.
        overwrite: Whether another comparison in that folder is replaced.
        isolate: Whether each cell has a process of its own, so that neither memory nor time of one
            bears on the next. ``build_model`` and ``score`` must then be importable; and a script
            that calls this needs ``if __name__ == "__main__":``.
        keep_models: Whether the picked network of each cell is saved: ``models/<cell>.keras``.
        verbose: 0: quiet; 1: a line for each cell.

    Returns:
        Cells, tables and figures; they also lie in the folder.

    Raises:
        ArgumentError: An argument breaks a rule.
        MissingPackageError: SciPy is not installed.
        RunExistsError: The folder holds another comparison, or a process is at work in it.
    """
    # Keras comes with it, which a script may want to import in its own way.
    from miha.compare.regularisation import regularisation_of

    refuse_unguarded()
    # The tables cannot do without SciPy: better to know it before the first cell has trained.
    need("scipy.stats", "compare")
    check_epochs(epochs)
    check_time_limit(time_limit)
    chosen = strategies_of(strategies)
    starts = default_starts(space) if starts is None else dict(starts)
    given = [start for start in starts.values() if start is not None]
    metric = metric or monitor.removeprefix("val_")
    data = check_data(data)
    space = space or DEFAULT_SPACE
    plan = Plan(
        build_model=build_model,
        data=data,
        strategies=chosen,
        starts=starts,
        space=ConfigurationSpace.of(space, given, regularisation_of(space, *data[0])),
        epochs=epochs,
        seeds=seeds_of(seeds),
        time_limit=time_limit,
        monitor=monitor,
        mode=direction("mode", monitor, mode),
        score=score or evaluated,
        metric=metric,
        metric_mode=direction("metric_mode", metric, metric_mode),
        folder=Path(logs).absolute(),
        isolate=isolate,
        keep_models=keep_models,
        console=Console(highlight=False, soft_wrap=True, quiet=not verbose),
    )
    return plan.run(overwrite)


def evaluated(
    model: Any,
    x: Any,
    y: Any,
) -> Mapping[str, float]:
    """Score a network by what it was compiled with."""
    scores: Mapping[str, float] = model.evaluate(x, y, verbose=0, return_dict=True)
    return scores


def check_data(data: Data) -> Data:
    """Return data as three pairs."""
    if not _is_tuple_of(3, data) or not all(_is_tuple_of(2, part) for part in data):
        raise ArgumentError(
            "`data` must be three pairs: (x, y), (x_val, y_val), (x_test, y_test). Received: "
            f"{type(data).__name__}. Validation data decide; without them nothing is compared."
        )
    first, second, third = map(tuple, data)
    return first, second, third


def _is_tuple_of(count: int, value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == count


def check_epochs(epochs: int) -> None:
    """Raise unless there are epochs enough for the shortest schedule."""
    if not isinstance(epochs, int) or epochs < 2:
        raise ArgumentError(
            f"`epochs` must be an integer, at least 2. Received: epochs={epochs!r}."
        )


def check_time_limit(limit: float | None) -> None:
    """Raise unless a time limit is a number above 0, or None."""
    if limit is not None and not (isinstance(limit, Real) and 0 < limit < math.inf):
        raise ArgumentError(
            "`time_limit` must be a number above 0, or None for no limit. "
            f"Received: time_limit={limit!r}."
        )


def seeds_of(wish: int | Sequence[int]) -> list[int]:
    """Return seeds, or the first so many."""
    found = list(range(wish) if isinstance(wish, int) else wish)
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise ArgumentError(
            "`seeds` must be a number of seeds, or different ones of at least 0. "
            f"Received: seeds={wish!r}. Give 5, or [0, 1, 2, 3, 4]."
        )
    return found


def direction(
    name: str,
    value: str,
    wish: str,
) -> Mode:
    """Return whether a value is better small or large.

    Args:
        name: Of the argument that wishes, for the error.
        value: The value's name, e.g. ``"val_accuracy"``.
        wish: ``"min"``, ``"max"``, or ``"auto"``: by the value's name.
    """
    if wish == "auto":
        return "max" if any(part in value.lower() for part in LARGE) else "min"
    if wish == "min":
        return "min"
    if wish == "max":
        return "max"
    raise ArgumentError(
        f"`{name}` must be 'min', 'max' or 'auto'. Received: {name}={wish!r}. Choose one."
    )
