"""The run's folder: its layout, the journal, and files that are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from miha.errors import RunExistsError
from miha.records import Phase

Keep = Literal["all", "model", "final", "none"]

FINAL = "model/model_final.zip"


def archive_name(phase: Phase, cycle: int | None, clone: int | None) -> str:
    """Return the name of the archive that a training writes, relative to the run's folder."""
    names = {
        "initial": "model/model_init.zip",
        "clone": f"population/{cycle}_{clone}_model.zip",
        "winner": f"model/model_{cycle}.zip",
        "final": FINAL,
    }
    return names[phase]


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it is, or will be. Nothing is touched before `create`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_free(self) -> None:
        """Raise unless the folder is missing or empty.

        Raises:
            RunExistsError: It holds something.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunExistsError(
                "`logs` must name a folder that is new or empty: nothing is overwritten. "
                f"Received: logs={str(self.path)!r}, which holds something. "
                "Choose another folder, or move that one away."
            )

    def create(self) -> None:
        """Make the folder and its parts.

        Raises:
            RunExistsError: It holds something.
        """
        self.check_free()
        for part in (self.path, self.path / "model", self.path / "population"):
            part.mkdir(parents=True, exist_ok=True)

    def write_archive(self, name: str, data: bytes) -> None:
        """Write a network's archive, whole or not at all."""
        write_whole(self.path / name, data)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        text = json.dumps(plain(values), indent=2, sort_keys=True)
        write_whole(self.path / name, (text + "\n").encode())

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append one line to the journal and see it on the disk."""
        with open(self.path / "journal.jsonl", "ab") as file:
            file.write(json.dumps(plain(entry), allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def keep(self, what: Keep) -> None:
        """Delete the archives that shall not stay after the run."""
        if what != "all":
            shutil.rmtree(self.path / "population")
        if what == "none":
            shutil.rmtree(self.path / "model")
        if what == "final":
            for archive in (self.path / "model").iterdir():
                if archive.name != Path(FINAL).name:
                    archive.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, see it on the disk, and rename it.

    Args:
        path: The file's final name; a file of that name is replaced in one step.
        data: What it shall hold.
    """
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name != "nt":  # Windows cannot open folders, and need not.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what it cannot hold becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
