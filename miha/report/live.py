"""What a run does at this moment, in a small file beside its journal, for `miha watch`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from miha.records import Epoch, Schedule, Task, TrainingRecord
from miha.report.pace import Pace
from miha.storage.folder import RUNNING

GAP = 0.05
"""Seconds between two epochs that are told: quicker ones are not worth a write each."""

MOST_WORK = 8
"""Trainings at work that are named."""


class Live(Pace):
    """Tells what a run does, as long as it does it.

    The file is no part of the run: it is gone when the run ends, nothing reads it to go on, and a
    disk that refuses it ends nothing.
    """

    _path: Path | None = None
    _written = 0.0

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Begin to tell."""
        super().on_run_begin(schedule, run_dir)
        self._path = Path(run_dir) / RUNNING
        self._write()

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Tell what is done already."""
        super().on_resume(trainings)
        self._write()

    def on_training_begin(self, task: Task) -> None:
        """Tell what is trained."""
        super().on_training_begin(task)
        self._write()

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Tell which epoch is trained."""
        super().on_epoch_end(task, epoch)
        if time.monotonic() - self._written > GAP:
            self._write()

    def close(self) -> None:
        """Leave no file behind."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self) -> None:
        if self._path is None:
            return
        self._written = time.monotonic()
        part = self._path.with_name(f"{RUNNING}.part")
        with contextlib.suppress(OSError):
            # Not synced: after a crash, nobody asks what was at work.
            part.write_text(json.dumps(self._state()), encoding="utf-8")
            os.replace(part, self._path)

    def _state(self) -> dict[str, Any]:
        return {
            "work": [work.text for work in self.work[-MOST_WORK:]],
            "done": self.done,
            "epochs": self.schedule.epochs,
            "is_open": self.is_open,
            "elapsed": self.elapsed,
            "left": self.left,
            "best": self.best if math.isfinite(self.best) else None,
            "monitor": self.monitor,
        }


def read_live(folder: Path) -> dict[str, Any] | None:
    """Return what a run does at this moment; None where it does not say so.

    Args:
        folder: The run's.
    """
    try:
        path = folder / RUNNING
        told = json.loads(path.read_bytes())
        age = max(0.0, time.time() - path.stat().st_mtime)
        left = told["left"]
        return {
            "work": [str(text) for text in told["work"]],
            "done": int(told["done"]),
            "epochs": int(told["epochs"]),
            "is_open": bool(told["is_open"]),
            # The file is as old as its last event: the clock has gone on.
            "elapsed": float(told["elapsed"]) + age,
            "left": None if left is None else max(0.0, float(left) - age),
        }
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
