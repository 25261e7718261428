"""The meter: counts every trained epoch of a strategy, and ends it when its budget is spent."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miha.errors import MihaError
from miha.records import Genome, Mode
from miha.storage.lock import taking_turns
from miha.utils.json_values import numbers, plain


class BudgetSpent(MihaError):  # noqa: N818
    """The strategy has trained all its epochs."""


@dataclass(frozen=True)
class Point:
    """One trained epoch: when it ended, its monitored value, the peak memory in megabytes."""

    seconds: float
    value: float
    memory: float | None


@dataclass(frozen=True)
class Pick:
    """The network that the monitored value picks."""

    value: float
    genome: Genome
    weights: list[np.ndarray]


@dataclass(frozen=True)
class Meter:
    """Counts the epochs of one strategy, in all its processes.

    What it knows is on the disk: worker processes of a strategy count together. An epoch takes a
    ticket before it begins, so that together they never train more than the limit.

    Attributes:
        folder: Where its files are; it must be there.
        limit: The most epochs to train.
        mode: Whether small or large monitored values are better.
        began: When the strategy began: seconds since 1970.
        time_limit: Seconds after which a strategy ends; None: any number.
        pick: Name of the file that holds the best network.
    """

    folder: Path
    limit: int
    mode: Mode
    began: float
    time_limit: float | None = None
    pick: str = "best"

    @property
    def taken(self) -> int:
        """The epochs that have begun."""
        path = self._tickets
        return path.stat().st_size if path.exists() else 0

    @property
    def is_over(self) -> bool:
        """Whether to train no further."""
        if self.taken >= self.limit:
            return True
        if self.time_limit is None:
            return False
        return time.time() - self.began >= self.time_limit

    @property
    def is_settled(self) -> bool:
        """Whether it is over, and every epoch that has begun is written down."""
        return self.is_over and len(self._lines()) >= self.taken

    def take(self) -> None:
        """Take the ticket of an epoch that is about to begin.

        Raises:
            BudgetSpent: No ticket is left. That the time is over is no reason: it may have ended
                while the network was built.
        """
        with self._turn():
            if self.taken >= self.limit:
                raise BudgetSpent(
                    f"A strategy trains {self.limit} epochs at most. Received: one more. End the "
                    "search when `task.meter.is_over`."
                )
            with open(self._tickets, "ab") as file:
                file.write(b".")

    def record(self, value: float) -> None:
        """Write down the monitored value after a trained epoch."""
        row = {
            "seconds": time.time() - self.began,
            "value": _finite_or_nan(value),
            "memory": peak_memory(),
        }
        line = json.dumps(plain(row))
        with self._turn(), open(self._epochs, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def offer(
        self,
        value: float,
        genome: Genome,
        weights: Callable[[], Sequence[np.ndarray]] | None = None,
    ) -> bool:
        """Keep a network where it is the best so far; return whether it is.

        Args:
            value: The monitored value.
            genome: The network's.
            weights: Returns the network's; None where the strategy keeps its networks itself.
        """
        value = _finite_or_nan(value)
        # No other process may keep a network between the question and the answer.
        with self._turn():
            is_best = self._is_best(value)
            if is_best:
                self._keep(value, genome, weights() if weights else [])
        return is_best

    def points(self) -> list[Point]:
        """Return the trained epochs in their order."""
        found = []
        for line in self._lines():
            row = json.loads(line)
            row["value"] = numbers(row["value"])
            found.append(Point(**row))
        return found

    @property
    def kept(self) -> dict[str, Any] | None:
        """Value and genome of the best network so far; None where there is none."""
        if not self._best.exists():
            return None
        with np.load(self._best) as file:
            kept = json.loads(str(file["about"]))
        return {"value": float(kept["value"]), "genome": kept["genome"]}

    def best(self) -> Pick:
        """Return the best network so far.

        Raises:
            MihaError: None has been trained.
        """
        kept = self.kept
        if kept is None:
            raise MihaError(
                "A strategy must train a network with `fit` before one can be picked. "
                "Received: no epoch. Build it by `task.build(genome)`."
            )
        with np.load(self._best) as file:
            # The last of the file's arrays is the text about the network.
            count = len(file.files) - 1
            weights = [file[f"arr_{i}"] for i in range(count)]
        genome = Genome.from_dict(kept["genome"])
        return Pick(kept["value"], genome, weights)

    def _is_best(self, value: float) -> bool:
        kept = self.kept
        # What is not a number is better than nothing, and worse than a number.
        if kept is None or math.isnan(kept["value"]):
            return True
        known = float(kept["value"])
        return value < known if self.mode == "min" else value > known

    def _keep(
        self,
        value: float,
        genome: Genome,
        weights: Sequence[np.ndarray],
    ) -> None:
        about = plain({"value": value, "genome": genome.to_dict()})
        text = np.array(json.dumps(about))
        new = self._best.with_suffix(".part")
        with open(new, "wb") as file:
            np.savez(file, *weights, about=text)
        # Not synced, which would cost the strategy time: an interrupted cell is run again.
        os.replace(new, self._best)

    def _lines(self) -> list[str]:
        path = self._epochs
        if not path.exists():
            return []
        return path.read_text(encoding="utf-8").splitlines()

    @property
    def _tickets(self) -> Path:
        return self.folder / "tickets"

    @property
    def _epochs(self) -> Path:
        return self.folder / "epochs.jsonl"

    @property
    def _best(self) -> Path:
        return self.folder / f"{self.pick}.npz"

    def _turn(self) -> Any:
        return taking_turns(self.folder / ".turn")


def _finite_or_nan(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


def peak_memory() -> float | None:
    """Return the peak memory of this process in megabytes; None where the system tells none."""
    if sys.platform == "win32":
        return None
    import resource

    # The resources' peak is not ours alone: on Linux a child begins with that of its parent.
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
