"""What a process that trains clones for a run does, whatever has started it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from miha.errors import ArgumentError
from miha.executors.protocol import CloneResult, Failure, Job
from miha.executors.training import failure_of, is_user_error, train_on
from miha.records import Epoch, Genome, Snapshot, Task
from miha.storage.text_log import log_warning
from miha.trainer.protocol import Trainer, XlaTrainer
from miha.utils.json_values import plain

Signature = Mapping[str, Any]
"""What tells a network and its data from others, in plain values."""


class Worker:
    """Builds the live network once, and trains one clone after another in it.

    Args:
        job: What it needs for that.
    """

    def __init__(self, job: Job) -> None:
        self._seed = job.seed
        self._trainer = job.make_trainer()
        if job.xla is not None and isinstance(self._trainer, XlaTrainer):
            self._trainer.use_xla(job.xla)

    def ping(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def describe(self) -> tuple[dict[str, Any], str]:
        """Return the trainer's signature, and where it trains."""
        return signature(self._trainer), self._trainer.device

    def train(self, task: Task, shared: tuple[Genome, Snapshot]) -> CloneResult:
        """Train a clone from its parent's genome and values."""
        parent, values = shared
        epochs: list[Epoch] = []
        try:
            # Values that processes share must not be written to.
            self._trainer.restore(copied(values))
            self._trainer.express(parent)
            # A clone never has the last training's falling learning rate.
            trained = train_on(
                self._trainer,
                task,
                self._seed,
                on_epoch=epochs.append,
            )
            return CloneResult(trained, self._trainer.snapshot())
        except Exception as error:
            # Errors are sent as text: their classes may not exist in the other process.
            text, story = failure_of(error)
            failure = Failure(text, story, ends_run=is_user_error(error))
            return CloneResult(tuple(epochs), None, failure)


def signature(trainer: Trainer) -> dict[str, Any]:
    """Return what two trainers of one network and the same data have in common."""
    described: dict[str, Any] = {
        "genome": trainer.genome.to_dict(),
        "space": asdict(trainer.space),
        "settings": trainer.settings,
        "logged": list(trainer.metrics),
    }
    fingerprint = dict(trainer.fingerprint)
    # The byte code of a function is another one in another version of Python.
    fingerprint.pop("code", None)
    described.update(fingerprint)

    snapshot = trainer.snapshot()
    arrays = (*snapshot.variables, *snapshot.slots)
    described["values"] = [list(array.shape) for array in arrays]
    return cast(dict[str, Any], plain(described))


def differences(found: Signature, wanted: Signature) -> list[str]:
    """Name the parts in which two signatures differ."""
    names: list[str] = []
    for name, value in wanted.items():
        if found.get(name) != value:
            names.append(name)
    return names


def check_ready(job: Job, found: Signature, device: str) -> None:
    """Raise unless a worker has built the network of its job; warn where it is on another device.

    Args:
        job: What the worker is for.
        found: The signature of what it has built.
        device: Where it trains.

    Raises:
        ArgumentError: It has built another one.
    """
    others = differences(found, job.signature)
    if others:
        raise ArgumentError(
            "A worker must build the same network and have the same data as this process. "
            f"Received: others, by {others}. Let `load_data` return what MIHA was given, and "
            "let each class of yours return all arguments of its constructor by `get_config`."
        )
    if device != job.device:
        log_warning(f"Clones train on {device}, and the network itself on {job.device}.")


def importable() -> str:
    """Return a PYTHONPATH by which another process finds the modules that this one finds."""
    folders = [folder for folder in sys.path if folder]
    return os.pathsep.join(folders)


def copied(snapshot: Snapshot) -> Snapshot:
    """Return values that may be written to: copies of those that may not."""
    variables = tuple(np.require(array, requirements="W") for array in snapshot.variables)
    slots = tuple(np.require(array, requirements="W") for array in snapshot.slots)
    return Snapshot(variables, snapshot.optimizer, slots)


def environment(cpus: float, gpus: float) -> dict[str, str]:
    """Return the variables that tell the backends how much of a machine is theirs.

    Args:
        cpus: Cores reserved; rounded down, but at least 1, the threads of a pool.
        gpus: GPUs reserved; 0: none is seen.
    """
    threads = max(int(cpus), 1)
    variables = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if threads == 1:
        # JAX has a switch, and no number.
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if not gpus:
        variables["CUDA_VISIBLE_DEVICES"] = "-1"
    return variables
