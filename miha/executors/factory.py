"""The executor that a user asks for, and what trains the populations of a run with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from miha.errors import ArgumentError
from miha.executors.fused import FusedExecutor
from miha.executors.parallel import ParallelExecutor, Workers
from miha.executors.processes import ProcessExecutor, cores
from miha.executors.protocol import Executor, PopulationExecutor, WorkerPool
from miha.executors.sequential import SequentialExecutor
from miha.executors.training import Training
from miha.executors.trial import TrialExecutor
from miha.options import WorkersChoice
from miha.records import TrainingRecord
from miha.trainer.protocol import PopulationTrainer


def choose_executor(executor: Any, workers: WorkersChoice = None) -> Executor | None:
    """Return the executor that a user asks for, checked; None: in this process.

    Args:
        executor: The user's.
        workers: How many clones train at once on a local one; None: one; "auto": one for each
            core.

    Raises:
        ArgumentError: It is none, or an argument of it breaks a rule.
        MissingPackageError: It needs a package that is not installed.
    """
    if executor == "local":
        if workers == "auto":
            # Where there can be no workers, there is nothing to try.
            workers = 1 if os.name == "nt" else cores()
        if workers in (None, 1):
            return None
        executor = ProcessExecutor(workers)
    if executor == "ray":
        from miha.executors.ray import RayExecutor

        executor = RayExecutor()
    start = getattr(executor, "start", None)
    if isinstance(executor, type) or not callable(start):
        raise ArgumentError(
            "`executor` must be 'local', 'ray' or an executor. "
            f"Received: executor={executor!r}. Choose one, such as miha.RayExecutor(workers=4)."
        )
    chosen = cast(Executor, executor)
    chosen.check()
    return chosen


def make_population_executor(
    training: Training,
    clones_at_once: int,
    workers: WorkerPool | None = None,
    records: Sequence[TrainingRecord] = (),
    on_trial: Workers | None = None,
) -> PopulationExecutor:
    """Return what trains populations.

    Args:
        training: Trains one network.
        clones_at_once: How many clones its trainer is to train together; 1: one after another.
        workers: What trains clones in other processes, or None.
        records: The run's trainings so far; the list grows with the run.
        on_trial: Workers to try where clones train one after another on this machine's cores.
    """
    if workers is not None:
        return ParallelExecutor(training, workers, records)
    # A run may go on with another backend, which cannot train clones together.
    if clones_at_once == 1 or training.trainer.obstacle("fused"):
        here = SequentialExecutor(training)
        # A GPU, or several devices, is not what a worker of this machine would have for itself.
        if on_trial is None or not training.trainer.device.endswith(" CPU"):
            return here
        return TrialExecutor(here, training, on_trial, records)
    return FusedExecutor(training, cast(PopulationTrainer, training.trainer), clones_at_once)
