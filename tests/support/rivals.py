"""Strategies that train nothing, so that the harness is tested in milliseconds, and by children."""

from __future__ import annotations

import os
import time
from collections import UserList
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.compare import Strategy
from miha.records import Genome
from miha.space import SearchSpace

START = Genome("adam", 0.01, 16, (("hidden", "relu"),))
SPACE = SearchSpace(layers=["hidden"])
RAN: UserList[Any] = UserList()  # A list's contents would count as the strategies' code.
"""What has run: strategy, seed, start."""


@dataclass(frozen=True)
class Rival(Strategy):
    """Counts its epochs, and returns as its network the score that it is to get."""

    name: str = "rival"
    quality: float = 0.5
    lift: float = 0.0
    """What each seed adds to the score."""

    def run(self, task: Any) -> Any:
        RAN.append((self.name, task.seed, task.start))
        for epoch in range(task.epochs):
            task.meter.take()
            task.meter.record(self.quality / (epoch + 1))
            task.meter.offer(self.quality / (epoch + 1), task.start)
        return self.quality + self.lift * task.seed


@dataclass(frozen=True)
class Crashing(Strategy):
    """Raises, or ends its process, after one epoch."""

    name: str = "crashing"
    status: int | None = None

    def run(self, task: Any) -> Any:
        RAN.append((self.name, task.seed, task.start))
        task.meter.take()
        task.meter.record(1.0)
        if self.status is not None:
            print("these were its last words", flush=True)
            os._exit(self.status)
        raise RuntimeError("out of luck\nand more")


@dataclass(frozen=True)
class Greedy(Rival):
    """Trains one epoch more than it may."""

    name: str = "greedy"

    def run(self, task: Any) -> Any:
        super().run(task)
        task.meter.take()


@dataclass(frozen=True)
class Idle(Strategy):
    """Trains nothing."""

    name: str = "idle"

    def run(self, task: Any) -> Any:
        return 1.0


@dataclass(frozen=True)
class Absent(Rival):
    """Needs a package that nobody has."""

    name: str = "absent"
    needs = ("no_such_package_anywhere",)


@dataclass(frozen=True)
class Interrupted(Rival):
    """Is interrupted by its user, as long as the list says so."""

    def run(self, task: Any) -> Any:
        if INTERRUPTIONS and INTERRUPTIONS.pop():
            raise KeyboardInterrupt
        return super().run(task)


@dataclass(frozen=True)
class Endless(Strategy):
    """Writes down its process and its folder, and trains until somebody ends it."""

    name: str = "endless"

    def run(self, task: Any) -> Any:
        task.meter.take()
        notes = task.folder.parents[1] / "running"
        notes.with_suffix(".part").write_text(f"{os.getpid()}\n{task.folder}")
        os.replace(notes.with_suffix(".part"), notes)
        time.sleep(60)


INTERRUPTIONS: UserList[bool] = UserList()
"""Whether each of the next calls is interrupted, the last one first."""


def build(genome: Genome) -> Any:
    """Be no network: rivals build none."""


def score(model: Any, x: Any, y: Any) -> dict[str, float]:
    return {"accuracy": float(model), "loss": 1 - float(model)}


def data() -> Any:
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    return (x[:2], y[:2]), (x[2:4], y[2:4]), (x[4:], y[4:])
