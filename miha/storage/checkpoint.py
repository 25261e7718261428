"""The checkpoint: how far a long training has come, for a process that goes on with it."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miha.errors import StorageError
from miha.records import Progress, Snapshot, Task, TrainingRecord, epochs_from, rows_of
from miha.storage.disk import write_whole
from miha.storage.folder import CHECKPOINT
from miha.utils.json_values import plain
from miha.utils.warn import warn

SHARE = 0.01
"""The largest share of a training's time that its checkpoints take."""

_MAGIC = b"MIHA checkpoint 1\n"


class Checkpoints:
    """The one file of a run in which the training at hand notes how far it has come.

    What is in it is a help, not the truth: where it cannot be read, or tells of another training,
    the training begins anew. A disk that refuses it ends nothing.

    Args:
        folder: The run's.
        seconds: How often it is written, where an epoch ends; 0: after each; None: never.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._path = folder / CHECKPOINT
        self._seconds = seconds
        self._last = 0.0
        self._cost = 0.0
        self._key: Any = None
        # The archive of the training that the file tells of. The writer's thread deletes it.
        self._archive: str | None = None
        self._lock = threading.Lock()

    def begin(self, task: Task, parent: TrainingRecord) -> Progress | None:
        """Begin to note a training; return how far an earlier process has come with it.

        Args:
            task: The training.
            parent: The network that it goes on from.
        """
        self._key = _key(task, parent)
        self._last = time.monotonic()
        if self._seconds is None:
            return None
        progress = _read(self._path, self._key)
        if progress is not None:
            self._archive = task.archive
        return progress

    def offer(self, task: Task, make: Callable[[], Progress]) -> None:
        """Write how far the training has come, where it is time to.

        Args:
            task: The training that has begun.
            make: Returns its progress, at the end of an epoch.
        """
        if self._seconds is None:
            return
        began = time.monotonic()
        gap = max(self._seconds, self._cost / SHARE) if self._seconds else 0.0
        if began - self._last < gap:
            return
        data = _packed(make(), self._key)
        try:
            with self._lock:
                write_whole(self._path, data)
                self._archive = task.archive
        except StorageError as error:
            self._seconds = None
            warn(f"Long trainings are noted no more, and begin anew where they stop: {error}")
        self._last = time.monotonic()
        self._cost = self._last - began

    def forget(self, archive: str | None) -> None:
        """Delete what is noted of a training: it is recorded now.

        Args:
            archive: The name of its archive.
        """
        with self._lock:
            if archive is not None and archive == self._archive:
                self._path.unlink(missing_ok=True)
                self._archive = None


def _key(task: Task, parent: TrainingRecord) -> Any:
    """Return what tells a training from every other one of the run, as JSON has it."""
    described = {
        "archive": task.archive,
        "epochs": task.epochs,
        "genome": task.genome.to_dict(),
        "change": task.change.to_json(),
        "rates": task.rates,
        "parent": parent.archive,
        "age": parent.age,
        "value": parent.value,
    }
    return json.loads(json.dumps(plain(described)))


def _packed(progress: Progress, key: Any) -> bytes:
    """Return a file: a line of checksum, a line of JSON, and the bytes of the arrays."""
    snapshot = progress.snapshot
    groups = (snapshot.variables, snapshot.slots, progress.noise)
    arrays = [np.asarray(array) for group in groups for array in group]
    header = {
        "key": key,
        "epochs": plain(rows_of(progress.epochs)),
        "order": progress.order,
        "optimizer": snapshot.optimizer,
        "groups": [len(group) for group in groups],
        "arrays": [[array.dtype.name, array.shape] for array in arrays],
    }
    parts = [json.dumps(header).encode(), b"\n", *(array.tobytes() for array in arrays)]
    body = b"".join(parts)
    return _MAGIC + b"%08x\n" % zlib.crc32(body) + body


def _read(path: Path, key: Any) -> Progress | None:
    """Return the progress of a training; None where the file has it not, or is damaged."""
    try:
        data = path.read_bytes()
        begin = len(_MAGIC) + 9
        body = memoryview(data)[begin:]
        if data[:begin] != _MAGIC + b"%08x\n" % zlib.crc32(body):
            return None
        end = data.index(b"\n", begin)
        header = json.loads(data[begin:end])
        if header["key"] != key:
            return None
        return _unpacked(header, memoryview(data)[end + 1 :])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _unpacked(header: Mapping[str, Any], data: memoryview) -> Progress:
    arrays: list[np.ndarray] = []
    for name, shape in header["arrays"]:
        dtype = np.dtype(name)
        count = int(np.prod(shape, dtype=int))
        # A copy: the bytes of the file may not be written to.
        arrays.append(np.frombuffer(data, dtype, count).reshape(shape).copy())
        data = data[count * dtype.itemsize :]
    variables, slots, noise = _split(arrays, header["groups"])
    return Progress(
        snapshot=Snapshot(variables, header["optimizer"], slots),
        epochs=epochs_from(header["epochs"]),
        order=header["order"],
        noise=noise,
    )


def _split(
    arrays: Sequence[np.ndarray],
    lengths: Sequence[int],
) -> list[tuple[np.ndarray, ...]]:
    groups: list[tuple[np.ndarray, ...]] = []
    begin = 0
    for length in lengths:
        groups.append(tuple(arrays[begin : begin + length]))
        begin += length
    return groups
