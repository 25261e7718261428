"""What a run returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from miha.records import Genome

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        model: The last network, plain Keras, compiled with its final optimizer and its state.
        genome: The hyperparameters that it ended with.
        best_model: The network of the run with the best monitored value: the last or another.
        best_genome: Its hyperparameters.
        best_value: Its monitored value.
        monitor: Name of the monitored value, e.g. ``"val_loss"``.
        history: One row for each trained epoch: phase, cycle, clone, epoch (how long that
            network has been trained), what `fit` logs, seconds.
        lineage: One row for each clone: cycle, clone, change, fitness, selected, archive, gene,
            value (the monitored one), parent (the archive it came from).
        run_dir: The run's folder.
    """

    model: keras.Model = field(repr=False)
    genome: Genome
    best_model: keras.Model = field(repr=False)
    best_genome: Genome
    best_value: float
    monitor: str
    history: pd.DataFrame = field(repr=False)
    lineage: pd.DataFrame = field(repr=False)
    run_dir: Path
