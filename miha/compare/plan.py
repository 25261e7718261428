"""A comparison before it has run: its cells, how they are run, and on which machine."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from miha.compare.cells import Job, Score, failure_of, run_apart, run_here
from miha.compare.comparison import Comparison
from miha.compare.configurations import ConfigurationSpace
from miha.compare.meter import Meter
from miha.compare.records import Cell, Place
from miha.compare.store import Store, key_of
from miha.compare.strategies.base import Strategy
from miha.compare.task import BuildModel, Data, Pair, Task
from miha.records import Genome, Mode
from miha.storage.lock import locked
from miha.utils.code_digest import digest
from miha.utils.json_values import plain

PACKAGES = ("miha", "keras", "optuna", "optuna-integration", "keras-tuner", "ray")


@dataclass(frozen=True)
class Plan:
    """A comparison before it has run; its attributes are the arguments of `compare`."""

    build_model: BuildModel
    data: Data
    strategies: list[Strategy]
    starts: Mapping[str, Genome | None]
    space: ConfigurationSpace
    epochs: int
    seeds: list[int]
    time_limit: float | None
    monitor: str
    mode: Mode
    score: Score
    metric: str
    metric_mode: Mode
    folder: Path
    isolate: bool
    keep_models: bool
    console: Console

    def run(self, overwrite: bool) -> Comparison:
        """Run the cells that have not been run, and write tables and figures."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            description = self.describe()
            store = Store.open(self.folder, description, overwrite)
            skipped = self._skipped()
            # The keys come first: a strategy's attributes may change while it runs.
            wanted = [job for job in self.jobs() if job.strategy.name not in skipped]
            jobs = {key_of(job): job for job in wanted}
            self._run_missing(jobs, store)

            found = [store.done(key, with_failures=True) for key in jobs]
            cells = tuple(cell for cell in found if cell is not None)
            comparison = Comparison(cells, self._about(description, skipped), skipped)
            comparison.save(self.folder, say=self._say)
        return comparison

    def _run_missing(
        self,
        jobs: Mapping[str, Job],
        store: Store,
    ) -> None:
        # A comparison that was killed could not delete its folders.
        shutil.rmtree(self._work, ignore_errors=True)
        for number, (key, job) in enumerate(jobs.items(), start=1):
            if store.done(key) is None:
                cell = self._run_cell(job)
                store.add(key, cell)
                self._say(f"[{number}/{len(jobs)}] {self._summary(cell)}")
        shutil.rmtree(self._work, ignore_errors=True)

    def _run_cell(self, job: Job) -> Cell:
        # An earlier attempt may have failed.
        failure_of(self.folder, job.place).unlink(missing_ok=True)
        cell = run_apart(job) if self.isolate else run_here(job)
        found = {**circumstances(), "isolated": self.isolate}
        return replace(cell, circumstances=found)

    def jobs(self) -> Iterator[Job]:
        """Yield every cell, seed by seed, so that what is done is always paired."""
        for seed, name, strategy in itertools.product(self.seeds, self.starts, self.strategies):
            place = Place(name, strategy.name, seed)
            start = self._start(name, seed)
            model = self.folder / "models" / f"{place.file}.keras"
            yield Job(
                place=place,
                strategy=strategy,
                task=self._task(start, seed),
                test=self.data[2],
                score=self.score,
                metric=self.metric,
                model=model if self.keep_models else None,
            )

    def _task(self, start: Genome, seed: int) -> Task:
        x, y = self.data[0]
        meter = Meter(
            folder=self._work,
            limit=self.epochs,
            mode=self.mode,
            # Each attempt starts its clock.
            began=0.0,
            time_limit=self.time_limit,
        )
        return Task(
            build_model=self.build_model,
            x=x,
            y=y,
            validation_data=self.data[1],
            space=self.space,
            start=start,
            epochs=self.epochs,
            seed=seed,
            monitor=self.monitor,
            mode=self.mode,
            time_limit=self.time_limit,
            folder=self._work,
            meter=meter,
        )

    def _start(self, name: str, seed: int) -> Genome:
        given = self.starts[name]
        if given is not None:
            return given
        number = zlib.crc32(name.encode())
        rng = np.random.default_rng([seed, number])
        return self.space.draw(rng, alike=True)

    def describe(self) -> dict[str, Any]:
        """Return what makes this comparison this one and no other."""
        arguments = {
            "epochs": self.epochs,
            "time_limit": self.time_limit,
            "monitor": self.monitor,
            "mode": self.mode,
            "metric": self.metric,
            "metric_mode": self.metric_mode,
            "space": asdict(self.space),
            "data": [checksum(part) for part in self.data],
            "backend": backend(),
            "code": {"build_model": digest(self.build_model), "score": digest(self.score)},
        }
        # As it will be read from the file, which knows no tuples.
        text = json.dumps(plain(arguments))
        found: dict[str, Any] = json.loads(text)
        return found

    def _about(
        self,
        description: dict[str, Any],
        skipped: Mapping[str, str],
    ) -> dict[str, Any]:
        names = [strategy.name for strategy in self.strategies]
        # What a reader of the tables needs beyond what makes it this comparison.
        return {
            **description,
            "strategies": [name for name in names if name not in skipped],
            "starts": list(self.starts),
            "random_starts": [name for name in self.starts if self.starts[name] is None],
            "isolated": self.isolate,
            "circumstances": circumstances(),
        }

    def _skipped(self) -> dict[str, str]:
        """Return the strategies that cannot run here, and why; say so."""
        found = {}
        for strategy in self.strategies:
            obstacle = strategy.obstacle(self.space, self.epochs)
            if obstacle:
                self._say(f"{strategy.name} is left out: {obstacle}.")
                found[strategy.name] = obstacle
        return found

    def _summary(self, cell: Cell) -> str:
        if cell.failure:
            return f"{cell.place}: failed: {cell.failure}"
        score = cell.scores.get(self.metric, float("nan"))
        cost = f"{cell.epochs} epochs, {cell.seconds:.1f} s"
        return f"{cell.place}: {self.metric} {score:.4f}, {cost}"

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)

    @property
    def _work(self) -> Path:
        return self.folder / "work"


def checksum(part: Pair) -> str:
    """Return a checksum of inputs and targets."""
    crc = 0
    for array in map(np.ascontiguousarray, part):
        kind = f"{array.shape} {array.dtype}"
        crc = zlib.crc32(kind.encode(), crc)
        crc = zlib.crc32(array.data, crc)
    return f"{crc:08x}"


def circumstances() -> dict[str, str | int | None]:
    """Return versions, processor, cores, and GPUs where there are any."""
    found: dict[str, str | int | None] = {}
    found["python"] = platform.python_version()
    found[backend()] = _version(backend())
    for name in PACKAGES:
        installed = _version(name)
        if installed:
            found[name] = installed
    found["processor"] = _processor()
    found["cores"] = os.cpu_count()
    gpus = _gpus()
    if gpus:
        found["gpu"] = gpus
    return found


def backend() -> str:
    """Return what Keras runs on, or would run on if it were imported."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].config.backend())
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpus() -> str:
    """Return the names of the GPUs."""
    # The driver is asked: a library would take the GPUs' memory.
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if found.returncode != 0:
        return ""
    return ", ".join(found.stdout.splitlines())


def _processor() -> str:
    # Python does not know the processor's name on Linux.
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, name = line.partition(":")
            if key.strip() == "model name" and name.strip():
                return name.strip()
    return platform.processor() or platform.machine()
