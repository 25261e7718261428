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
from typing import TYPE_CHECKING, Any

from miha.compare.checks import GUARD
from miha.compare.configurations import ConfigurationSpace
from miha.compare.meter import Meter, Point
from miha.compare.records import Cell, Place
from miha.compare.strategies.base import Strategy
from miha.compare.task import BuildModel, Task
from miha.errors import ArgumentError, MihaError, first_line
from miha.records import Genome, Mode
from miha.storage.disk import on_disk, write_whole

if TYPE_CHECKING:
    import keras

Score = Callable[[Any, Any, Any], Mapping[str, float]]
"""From a network, test inputs and test targets to its scores by name."""

JOB, RESULT, OUTPUT = "job.pickle", "cell.json", "output.txt"


@dataclass(frozen=True)
class Job:
    """A cell before it has run.

    Attributes:
        place: Which cell this is.
        strategy: What runs.
        build_model: The user's function.
        train: Training inputs and targets.
        validation: Validation inputs and targets.
        test: Test inputs and targets: for the score alone.
        space: What a configuration may be.
        start: The configuration to begin with.
        epochs: The budget.
        time_limit: Seconds; None: any number.
        monitor: Name of the value that decides.
        mode: Whether small or large values of it are better.
        score: The user's function.
        metric: Name of the score that must be among those it returns.
        folder: Each attempt works in a new folder within; that is deleted afterwards.
        model: Where the picked network is saved; None: nowhere.
    """

    place: Place
    strategy: Strategy
    build_model: BuildModel
    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]
    space: ConfigurationSpace
    start: Genome
    epochs: int
    time_limit: float | None
    monitor: str
    mode: Mode
    score: Score
    metric: str
    folder: Path
    model: Path | None = None


def run_here(job: Job) -> Cell:
    """Run a cell in this process; what it raises becomes its failure."""
    with _attempt(job) as job:
        return _run(job)


def run_apart(job: Job) -> Cell:
    """Run a cell in a process of its own, so that nothing of it bears on the next one.

    Raises:
        ArgumentError: What it needs cannot be sent to another process.
    """
    with _attempt(job) as job:
        _send(job)
        child = get_context("spawn").Process(target=_run_in_child, args=(job.folder,))
        child.start()
        try:
            child.join()
        finally:
            child.kill()
        return _result(job, child.exitcode)


def _send(job: Job) -> None:
    """Leave a job in its folder: a child that dies before it reads leaves nobody waiting."""
    path = job.folder / JOB
    try:
        with on_disk(path), open(path, "wb") as file:
            pickle.dump(job, file, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            "A cell in a process of its own needs functions that can be imported, and data "
            f"that can be pickled. Received: {first_line(error)} Define `build_model` and "
            "`score` at the top of a module, or give isolate=False."
        ) from error


def _result(job: Job, status: int | None) -> Cell:
    """Return what the child has left behind."""
    path = job.folder / RESULT
    if path.exists():
        return Cell.from_dict(json.loads(path.read_text(encoding="utf-8")))
    output = job.folder / OUTPUT
    if not output.exists():
        reason = f"Its process ended with status {status} before the cell began. {GUARD}"
        return replace(_measured(job, 0.0), failure=reason)
    text = output.read_text(errors="replace")
    _tell(job, text)
    last = " / ".join(text.splitlines()[-3:]) or "no output"
    reason = f"Its process ended with status {status}: {last}"
    return replace(_measured(job, 0.0), failure=reason)


def _run_in_child(folder: Path) -> None:
    """Run a cell and leave it in its folder; what libraries print goes into a file."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(folder / OUTPUT, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        job: Job = pickle.loads((folder / JOB).read_bytes())
        cell = _run(job)
    write_whole(folder / RESULT, json.dumps(cell.to_dict()).encode())


def _end_with_parent() -> None:
    """End this process when the one that waits for it is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(job: Job) -> Cell:
    meter = _meter(job)
    began = time.perf_counter()
    try:
        model = job.strategy.run(_task(job, meter))
        cell = _measured(job, time.perf_counter() - began)
        if not cell.epochs:
            raise MihaError("A strategy must train. Received: no epoch.")
        scores = _scores(job, model)
        if job.model is not None:
            job.model.parent.mkdir(parents=True, exist_ok=True)
            model.save(job.model, include_optimizer=False)
        return replace(cell, scores=scores)
    except Exception as error:
        reason = f"{type(error).__name__}: {_line(error)}"
        _tell(job, traceback.format_exc())
        return replace(_measured(job, time.perf_counter() - began), failure=reason)


def _line(error: Exception) -> str:
    """Return one line that tells; where a library raises a whole traceback, its last."""
    line = first_line(error)
    return str(error).strip().splitlines()[-1] if line.startswith("Traceback (") else line


def _tell(job: Job, text: str) -> None:
    """Write down all that is known of a failure, in a file that stays."""
    path = failure_of(job.folder.parents[1], job.place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def failure_of(folder: Path, place: Place) -> Path:
    """Return the file in a comparison's folder that tells of a cell's failure."""
    return folder / "failures" / f"{place.file}.txt"


def _scores(job: Job, model: keras.Model) -> dict[str, float]:
    """Score a network: the only place where the test data are looked at."""
    x, y = job.test
    scores = {name: float(value) for name, value in job.score(model, x, y).items()}
    if job.metric not in scores:
        raise ArgumentError(
            f"`metric` must be one of the scores {sorted(scores)}. Received: "
            f"metric={job.metric!r}. Choose one of them, or give a `score` that returns it."
        )
    return scores


def _measured(job: Job, seconds: float) -> Cell:
    """Return a cell with what the meter has counted."""
    meter = _meter(job)
    points: list[Point] = meter.points()
    kept = meter.kept
    memory = [point.memory for point in points if point.memory is not None]
    return Cell(
        place=job.place,
        value=None if kept is None else kept["value"],
        genome=None if kept is None else kept["genome"],
        epochs=meter.taken,
        seconds=seconds,
        memory=max(memory, default=None),
        lines=job.strategy.lines,
        curve=tuple((round(point.seconds, 3), point.value) for point in points),
        start=job.start.to_dict(),
    )


def _task(job: Job, meter: Meter) -> Task:
    return Task(
        build_model=job.build_model,
        x=job.train[0],
        y=job.train[1],
        validation_data=job.validation,
        space=job.space,
        start=job.start,
        epochs=job.epochs,
        seed=job.place.seed,
        monitor=job.monitor,
        mode=job.mode,
        time_limit=job.time_limit,
        folder=job.folder,
        meter=meter,
    )


def _meter(job: Job) -> Meter:
    return Meter(job.folder, job.epochs, job.mode, time.time(), job.time_limit)


@contextlib.contextmanager
def _attempt(job: Job) -> Iterator[Job]:
    """Give a job a folder that no other attempt has ever had; delete it afterwards."""
    job.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=job.folder))
    try:
        yield replace(job, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
