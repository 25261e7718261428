"""What a process that trains clones for a run does, whatever has started it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from miha.errors import MihaError, TrainerError, first_line
from miha.executors.protocol import Failure, Job, Outcome
from miha.executors.training import LONGEST_FAILURE, train_on
from miha.records import Epoch, Genome, Snapshot, Task
from miha.trainer.protocol import Trainer, XlaTrainer
from miha.utils.json_values import plain


class Worker:
    """Builds the live network once, and trains one clone after another in it.

    Args:
        job: What it needs for that.
    """

    def __init__(self, job: Job) -> None:
        self._seed = job.seed
        self._trainer = job.make_trainer()
        if job.xla_from is not None and self._trainer.compiler == "graph":
            cast(XlaTrainer, self._trainer).compile_from(job.xla_from)

    def ping(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def describe(self) -> tuple[dict[str, Any], str]:
        """Return the trainer's signature, and where it trains."""
        return signature(self._trainer), self._trainer.device

    def train(self, task: Task, shared: tuple[Genome, Snapshot]) -> Outcome:
        """Train a clone from its parent's genome and values."""
        epochs: list[Epoch] = []
        parent, values = shared
        try:
            # Copied: what is shared between processes must not be written to.
            self._trainer.restore(_copied(values))
            self._trainer.express(parent)
            trained = train_on(self._trainer, task, self._seed, False, epochs.append)
            return Outcome(trained, self._trainer.snapshot())
        except Exception as error:
            return Outcome(tuple(epochs), None, _failure(error))


def signature(trainer: Trainer) -> dict[str, Any]:
    """Return what two trainers of one network and the same data have in common."""
    snapshot = trainer.snapshot()
    described = {
        "genome": trainer.genome.to_dict(),
        "space": asdict(trainer.space),
        "settings": trainer.settings,
        "logged": list(trainer.metrics),
        # Byte code is read where it was written.
        **{key: value for key, value in trainer.fingerprint.items() if key != "code"},
        "values": [list(array.shape) for array in (*snapshot.variables, *snapshot.slots)],
    }
    return cast(dict[str, Any], plain(described))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the parts in which two signatures differ."""
    return [name for name in wanted if found.get(name) != wanted[name]]


def _copied(snapshot: Snapshot) -> Snapshot:
    variables, slots = (
        tuple(np.array(array) for array in part) for part in (snapshot.variables, snapshot.slots)
    )
    return Snapshot(variables, snapshot.optimizer, slots)


def _failure(error: Exception) -> Failure:
    ends_run = isinstance(error, MihaError) and not isinstance(error, TrainerError)
    return Failure(
        text=f"{type(error).__name__}: {first_line(error)}",
        traceback="".join(traceback.format_exception(error))[-LONGEST_FAILURE:],
        ends_run=ends_run,
    )
