"""A comparison before it has run: its cells, and how they are run."""

from __future__ import annotations

import itertools
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from miha.compare.cells import Job, Score, failure_of, run_apart, run_here
from miha.compare.checks import Data, checksum
from miha.compare.comparison import Comparison
from miha.compare.configurations import ConfigurationSpace
from miha.compare.machine import backend, circumstances
from miha.compare.records import Cell, Place
from miha.compare.store import Store, key_of
from miha.compare.strategies.base import Strategy
from miha.compare.task import BuildModel
from miha.records import Genome
from miha.storage.lock import locked
from miha.utils.code_digest import digest
from miha.utils.json_values import plain


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
    mode: Any
    score: Score
    metric: str
    metric_mode: Any
    folder: Path
    isolate: bool
    keep_models: bool
    console: Console

    def run(self, overwrite: bool) -> Comparison:
        """Run the cells that have not been run, and write tables and figures."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            described = self.describe()
            store = Store.open(self.folder, described, overwrite)
            shutil.rmtree(self.folder / "work", ignore_errors=True)  # Of one that was killed.
            skipped = dict(self._skipped())
            jobs = [job for job in self.jobs() if job.strategy.name not in skipped]
            keys = [key_of(job) for job in jobs]  # Before a strategy's attributes change.
            for number, (key, job) in enumerate(zip(keys, jobs, strict=True), start=1):
                if store.done(key) is None:
                    cell = self._cell(job)
                    store.add(key, cell)
                    self._say(f"[{number}/{len(jobs)}] {self._told(cell)}")
            shutil.rmtree(self.folder / "work", ignore_errors=True)
            found = [store.done(key, with_failures=True) for key in keys]
            comparison = self._comparison(described, found, skipped)
            comparison.save(self.folder, say=self._say)
        return comparison

    def _cell(self, job: Job) -> Cell:
        failure_of(self.folder, job.place).unlink(missing_ok=True)  # Of an earlier attempt.
        cell = run_apart(job) if self.isolate else run_here(job)
        return replace(cell, circumstances={**circumstances(), "isolated": self.isolate})

    def jobs(self) -> Iterator[Job]:
        """Yield every cell, seed by seed, so that what is done is always paired."""
        for seed, name, strategy in itertools.product(self.seeds, self.starts, self.strategies):
            place = Place(name, strategy.name, seed)
            yield Job(
                place=place,
                strategy=strategy,
                build_model=self.build_model,
                train=self.data[0],
                validation=self.data[1],
                test=self.data[2],
                space=self.space,
                start=self._start(name, seed),
                epochs=self.epochs,
                time_limit=self.time_limit,
                monitor=self.monitor,
                mode=self.mode,
                score=self.score,
                metric=self.metric,
                folder=self.folder / "work",
                model=self.folder / "models" / f"{place.file}.keras" if self.keep_models else None,
            )

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
        described: dict[str, Any] = json.loads(json.dumps(plain(arguments)))
        return described

    def _start(self, name: str, seed: int) -> Genome:
        given = self.starts[name]
        if given is not None:
            return given
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return self.space.draw(rng, alike=True)

    def _skipped(self) -> Iterator[tuple[str, str]]:
        """Yield the strategies that cannot run here, and say why."""
        for strategy in self.strategies:
            obstacle = strategy.obstacle(self.space, self.epochs)
            if obstacle:
                self._say(f"{strategy.name} is left out: {obstacle}.")
                yield strategy.name, obstacle

    def _comparison(
        self, described: dict[str, Any], found: list[Cell | None], skipped: dict[str, str]
    ) -> Comparison:
        about = {
            **described,
            "strategies": [s.name for s in self.strategies if s.name not in skipped],
            "starts": list(self.starts),
            "random_starts": [name for name, start in self.starts.items() if start is None],
            "isolated": self.isolate,
            "circumstances": circumstances(),
        }
        return Comparison(tuple(c for c in found if c is not None), about, skipped)

    def _told(self, cell: Cell) -> str:
        if cell.failure:
            return f"{cell.place}: failed: {cell.failure}"
        score = cell.scores.get(self.metric, float("nan"))
        return (
            f"{cell.place}: {self.metric} {score:.4f}, {cell.epochs} epochs, {cell.seconds:.1f} s"
        )

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)
