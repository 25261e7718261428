"""One cell: a strategy runs, the network it picked is scored on the test data, once."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from miha.compare.records import Cell, Place
from miha.compare.strategies.base import Strategy
from miha.compare.task import Model, Pair, Task
from miha.errors import ArgumentError, MihaError, first_line
from miha.storage.disk import on_disk, write_whole
from miha.utils.spawned import GUARD

Score = Callable[[Any, Any, Any], Mapping[str, float]]
"""From a network, test inputs and test targets to its scores by name."""

JOB = "job.pickle"
RESULT = "cell.json"
OUTPUT = "output.txt"


@dataclass(frozen=True)
class Job:
    """A cell before it has run; each attempt works in a new folder within the task's."""

    place: Place
    strategy: Strategy
    task: Task
    test: Pair
    score: Score
    metric: str
    model: Path | None = None
    """Where the picked network is saved."""


def run_here(job: Job) -> Cell:
    """Run a cell in this process; what it raises becomes its failure."""
    with _attempt(job) as attempt:
        return _run(attempt)


def run_apart(job: Job) -> Cell:
    """Run a cell in a new process, so that nothing of it bears on the next one.

    Raises:
        ArgumentError: What it needs cannot be sent to another process.
    """
    with _attempt(job) as attempt:
        _send(attempt)
        folder = attempt.task.folder
        child = get_context("spawn").Process(target=_run_in_child, args=(folder,))
        child.start()
        try:
            child.join()
        finally:
            child.kill()
        return _result(attempt, child.exitcode)


@contextlib.contextmanager
def _attempt(job: Job) -> Iterator[Job]:
    """Give a job a folder that no other attempt has ever had; delete it afterwards."""
    work = job.task.folder
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        yield replace(job, task=job.task.within(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _send(job: Job) -> None:
    """Leave a job in its folder: a child that dies before it reads leaves nobody waiting."""
    path = job.task.folder / JOB
    try:
        with on_disk(path), open(path, "wb") as file:
            pickle.dump(job, file, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            "A cell in a process of its own needs functions that can be imported, and data "
            f"that can be pickled. Received: {first_line(error)} Define `build_model` and "
            "`score` at the top of a module, or give isolate=False."
        ) from error


def _run_in_child(folder: Path) -> None:
    """Run a cell and leave it in its folder; what libraries print goes into a file."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(folder / OUTPUT, "wb") as file:
        # Libraries written in C print past `sys.stdout`: the descriptors themselves are exchanged.
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        job: Job = pickle.loads((folder / JOB).read_bytes())
        cell = _run(job)
    text = json.dumps(cell.to_dict())
    write_whole(folder / RESULT, text.encode())


def _end_with_parent() -> None:
    """End this process when the one that waits for it is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _result(job: Job, status: int | None) -> Cell:
    """Return what the child has left behind."""
    result = job.task.folder / RESULT
    if result.exists():
        values = json.loads(result.read_text(encoding="utf-8"))
        return Cell.from_dict(values)

    reason = f"Its process ended with status {status}"
    output = job.task.folder / OUTPUT
    if not output.exists():
        return _failed(job, 0.0, f"{reason} before the cell began. {GUARD}")

    text = output.read_text(errors="replace")
    _write_failure(job, text)
    last = " / ".join(text.splitlines()[-3:]) or "no output"
    return _failed(job, 0.0, f"{reason}: {last}")


def _run(job: Job) -> Cell:
    meter = replace(job.task.meter, began=time.time())
    job = replace(job, task=replace(job.task, meter=meter))
    began = time.perf_counter()
    try:
        model = job.strategy.run(job.task)
        cell = _measured(job, time.perf_counter() - began)
        if not cell.epochs:
            raise MihaError("A strategy must train. Received: no epoch.")
        cell = replace(cell, scores=_scores(job, model))
        if job.model is not None:
            job.model.parent.mkdir(parents=True, exist_ok=True)
            model.save(job.model, include_optimizer=False)
        return cell
    except Exception as error:
        seconds = time.perf_counter() - began
        _write_failure(job, traceback.format_exc())
        return _failed(job, seconds, f"{type(error).__name__}: {_reason(error)}")


def _scores(
    job: Job,
    model: Model,
) -> dict[str, float]:
    """Score a network: the only place where the test data are looked at."""
    found = job.score(model, *job.test)
    scores = {name: float(value) for name, value in found.items()}
    if job.metric not in scores:
        raise ArgumentError(
            f"`metric` must be one of the scores {sorted(scores)}. Received: "
            f"metric={job.metric!r}. Choose one of them, or give a `score` that returns it."
        )
    return scores


def _measured(job: Job, seconds: float) -> Cell:
    """Return a cell with what the meter has counted."""
    meter = job.task.meter
    kept = meter.kept or {"value": None, "genome": None}
    points = meter.points()
    memory = [point.memory for point in points if point.memory is not None]
    curve = [(round(point.seconds, 3), point.value) for point in points]
    return Cell(
        place=job.place,
        value=kept["value"],
        genome=kept["genome"],
        epochs=meter.taken,
        seconds=seconds,
        memory=max(memory, default=None),
        curve=tuple(curve),
        start=job.task.start.to_dict(),
    )


def _failed(
    job: Job,
    seconds: float,
    reason: str,
) -> Cell:
    return replace(_measured(job, seconds), failure=reason)


def _reason(error: Exception) -> str:
    """Return one line of an error."""
    line = first_line(error)
    if not line.startswith("Traceback ("):
        return line
    # Some libraries raise a whole traceback as text, whose last line says what is wrong.
    lines = str(error).strip().splitlines()
    return lines[-1]


def _write_failure(job: Job, text: str) -> None:
    """Write all that is known of a failure into a file that stays."""
    # The attempt's folder is deleted: it lies in `work`, which lies in the comparison's.
    path = failure_of(job.task.folder.parents[1], job.place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def failure_of(folder: Path, place: Place) -> Path:
    """Return the file in a comparison's folder that tells of a cell's failure."""
    return folder / "failures" / f"{place.file}.txt"
