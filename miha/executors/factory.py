"""The executor that a user asks for, and what trains the clones of a run with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from miha.errors import ArgumentError
from miha.executors.asynchronous import Asynchronous
from miha.executors.distributed import Distributed
from miha.executors.fused import Fused
from miha.executors.protocol import CycleTrainer, Executor, Workers
from miha.executors.sequential import Sequential
from miha.executors.training import Training
from miha.trainer.protocol import PopulationTrainer

Where = Literal["local", "ray"]


def choose_executor(executor: Any) -> Executor | None:
    """Return the executor that a user asks for, checked; None: in this process.

    Raises:
        ArgumentError: It is none, or an argument of it breaks a rule.
        MissingPackageError: It needs a package that is not installed.
    """
    if executor == "local":
        return None
    if executor == "ray":
        from miha.executors.ray import RayExecutor

        executor = RayExecutor()
    if not callable(getattr(executor, "start", None)) or isinstance(executor, type):
        raise ArgumentError(
            "`executor` must be 'local', 'ray' or an executor. "
            f"Received: executor={executor!r}. Choose one, such as miha.RayExecutor(workers=4)."
        )
    chosen = cast(Executor, executor)
    chosen.check()
    return chosen


def make_cycle_trainer(
    training: Training,
    clones_at_once: int,
    workers: Workers | None = None,
    trainings: Sequence[Mapping[str, Any]] = (),
) -> CycleTrainer | Asynchronous:
    """Return what trains populations.

    Args:
        training: Trains one network.
        clones_at_once: How many clones its trainer is to train together; 1: one after another.
        workers: What trains clones in other processes, or None.
        trainings: The journal's entries so far.
    """
    if workers is not None and training.plan.asynchronous is not None:
        return Asynchronous(training, workers, trainings)
    if workers is not None:
        return Distributed(training, workers, trainings)
    # A run may go on with another backend, which has other ways.
    if clones_at_once == 1 or training.trainer.obstacle("fused"):
        return Sequential(training)
    return Fused(training, cast(PopulationTrainer, training.trainer), clones_at_once)
