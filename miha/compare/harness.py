"""`compare`: the same budget for every strategy, from the same starts, on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from miha.compare.catalogue import strategies_of
from miha.compare.cells import Score
from miha.compare.checks import (
    Data,
    at_least,
    checked,
    positive_or_none,
    refuse_unguarded,
    seeds_of,
)
from miha.compare.comparison import Comparison
from miha.compare.configurations import DEFAULT_SPACE, ConfigurationSpace, default_starts
from miha.compare.directions import direction
from miha.compare.plan import Plan
from miha.compare.strategies.base import Strategy
from miha.compare.task import BuildModel
from miha.records import Genome
from miha.space import SearchSpace
from miha.utils.optional import need


def evaluated(model: Any, x: Any, y: Any) -> Mapping[str, float]:
    """Score a network by what it was compiled with."""
    scores: Mapping[str, float] = model.evaluate(x, y, verbose=0, return_dict=True)
    return scores


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
        space: What all strategies choose from; of it, optimizers, activations, batch size and
            learning rate count. By default a learning rate of 1e-4 to 0.1, a batch size of 8 to
            256, and all optimizers and activations of MIHA.
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
    refuse_unguarded()
    need("scipy.stats", "compare")  # Before the cells: the tables cannot do without.
    starts = default_starts(space) if starts is None else dict(starts)
    configurations = ConfigurationSpace.of(space or DEFAULT_SPACE, filter(None, starts.values()))
    metric = metric or monitor.removeprefix("val_")
    plan = Plan(
        build_model=build_model,
        data=checked(data),
        strategies=strategies_of(strategies),
        starts=starts,
        space=configurations,
        epochs=at_least("epochs", epochs, 2),
        seeds=seeds_of(seeds),
        time_limit=positive_or_none("time_limit", time_limit),
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
