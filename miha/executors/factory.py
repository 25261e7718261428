"""The executor that a run's choices name."""

from __future__ import annotations

from typing import cast

from miha.executors.fused import Fused
from miha.executors.protocol import Executor
from miha.executors.sequential import Sequential
from miha.trainer.protocol import PopulationTrainer
from miha.training import Training


def make_executor(training: Training, clones_at_once: int) -> Executor:
    """Return what trains populations.

    Args:
        training: Trains one network.
        clones_at_once: How many clones its trainer is to train together; 1: one after another.
    """
    # A run may go on with another backend, which has other ways.
    if clones_at_once == 1 or training.trainer.obstacle("fused"):
        return Sequential(training)
    return Fused(training, cast(PopulationTrainer, training.trainer), clones_at_once)
