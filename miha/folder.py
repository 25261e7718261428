"""The run's folder: its layout, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from miha.errors import JournalError, RunExistsError, StorageError
from miha.records import Phase

Keep = Literal["all", "model", "final", "none"]

FORMAT = 1
"""Of `run.json` and the journal; a reader knows its own and every earlier one."""

START = "model/model_start.zip"
FINAL = "model/model_final.zip"

_SKELETON = {".lock", "model", "population", "run.log", "run.json.part"}
"""What a run that was killed before it wrote `run.json` has left."""

_WRITTEN = (
    *("journal.jsonl", "history.csv", "lineage.csv", "run.log"),
    *("model/model_*.zip", "population/*_model.zip"),
)


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
        """Raise unless the folder holds a run or nothing.

        Raises:
            RunExistsError: It holds something else.
            StorageError: It cannot be read.
        """
        with on_disk(self.path):
            is_free = not self.path.exists() or self.has_run or self._is_skeleton()
        if not is_free:
            raise RunExistsError(
                "`logs` must name a folder that is new or empty, or that holds a run of MIHA. "
                f"Received: logs={str(self.path)!r}, which holds something else. "
                "Choose another folder, or move that one away."
            )

    @property
    def has_run(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / "run.json").is_file()

    def description(self) -> dict[str, Any]:
        """Return what `run.json` says of the run.

        Raises:
            JournalError: It is missing, damaged or of a later version.
        """
        path = self.path / "run.json"
        try:
            description = json.loads(path.read_bytes())
            found, _ = description["format"], description["arguments"]["monitor"]
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise JournalError(
                f"A run's folder must hold its `run.json`. Received: {str(path)!r}: {error!r}. "
                "Name the folder of a run, or bring that file back from a copy."
            ) from error
        if type(found) is not int or not 1 <= found <= FORMAT:
            raise JournalError(
                f"A run must be of a format that this version reads, 1 to {FORMAT}. "
                f"Received: {str(path)!r} of format {found!r}. Install a newer version of MIHA."
            )
        return dict(description)

    def create(self) -> None:
        """Make the folder and its parts, where they are missing.

        Raises:
            RunExistsError: It holds something that is no run.
            StorageError: It cannot be made.
        """
        self.check_free()
        for part in (self.path, self.path / "model", self.path / "population"):
            with on_disk(part):
                part.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Delete what a run has written but `run.json`, which the next run replaces.

        The journal goes first: what is left if this is interrupted is a run that has not begun.
        """
        for pattern in _WRITTEN:
            for file in self.path.glob(pattern):
                with on_disk(file):
                    file.unlink()

    def sweep(self) -> None:
        """Delete what a killed run has left half written."""
        for file in (*self.path.glob("*.part"), *self.path.glob("*/*.part")):
            with on_disk(file):
                file.unlink()

    def write_archive(self, name: str, data: bytes) -> None:
        """Write a network's archive, whole or not at all."""
        write_whole(self.path / name, data)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        text = json.dumps(plain(values), indent=2, sort_keys=True)
        write_whole(self.path / name, (text + "\n").encode())

    def keep(self, what: Keep, results: Collection[str]) -> None:
        """Delete the archives that shall not stay after the run.

        Args:
            what: Which stay.
            results: The archives of the result, the last and the best, which stay unless
                nothing does.
        """
        stays = {"all": "*/*", "model": "model/*", "final": FINAL, "none": ""}[what]
        for file in self.path.glob("[mp]*/*.zip"):
            name = file.relative_to(self.path)
            is_result = what != "none" and name.as_posix() in results
            if not is_result and not (stays and name.match(stays)):
                with on_disk(file):
                    file.unlink()
        for part in ("model", "population"):
            with contextlib.suppress(OSError):  # Not empty, mostly.
                (self.path / part).rmdir()

    def check_room(self, need: int, archives: int) -> None:
        """Raise unless the disk has room for what a run will write.

        Args:
            need: Bytes.
            archives: How many archives they are.

        Raises:
            StorageError: It has not.
        """
        free = free_bytes(self.path)
        if free < need:
            raise StorageError(
                f"The disk must have room for the run: about {megabytes(need)} for {archives} "
                f"archives. Received: {str(self.path)!r} with {megabytes(free)} free. Make room, "
                "name another disk in `logs`, or lower c or pop_size."
            )

    def _is_skeleton(self) -> bool:
        """Tell whether a run was killed here before it had begun."""
        if not self.path.is_dir() or {file.name for file in self.path.iterdir()} - _SKELETON:
            return False
        return not any(self.path.glob("model/*")) and not any(self.path.glob("population/*"))


def new_folder(parent: Path) -> Path:
    """Make a new folder, named by the time, and return it.

    Raises:
        StorageError: It cannot be made.
    """
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    for end in chain([""], map("-{}".format, count(2))):
        with on_disk(parent / name), contextlib.suppress(FileExistsError):
            (parent / (name + end)).mkdir(parents=True)
            return parent / (name + end)
    raise AssertionError("unreachable: there is always another number")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, see it on the disk, and rename it.

    Args:
        path: The file's final name; a file of that name is replaced in one step.
        data: What it shall hold.

    Raises:
        StorageError: The disk refuses.
    """
    temporary = path.with_name(path.name + ".part")
    with on_disk(path, len(data)):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()  # Half a file must not take the last of the room.
            raise


def sync_folder(path: Path) -> None:
    """See a folder's names on the disk."""
    if os.name != "nt":  # Windows cannot open folders, and need not.
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def on_disk(path: Path, need: int = 0) -> Iterator[None]:
    """Say clearly what the disk refuses.

    Args:
        path: What is written.
        need: How many bytes.

    Raises:
        StorageError: The disk refused.
    """
    try:
        yield
    except OSError as error:
        room = f" ({megabytes(need)} needed, {megabytes(free_bytes(path))} free)" if need else ""
        raise StorageError(
            f"The run's folder must be there and writable, with room. Received: {str(path)!r}: "
            f"{error.strerror or error}{room}. Mend that and run the same script again: it goes "
            "on after the last training that is on the disk."
        ) from error


def free_bytes(path: Path) -> int:
    """Return how much a user may still write where a file is, or would be."""
    there = next(place for place in (path, *path.absolute().parents) if os.path.exists(place))
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1e6:,.1f} MB"


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
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    # Where an object lies in memory is no part of what it is.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def numbers(value: Any) -> Any:
    """Return numbers as they were before `plain` made text of those that are not finite."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if isinstance(value, str) else value
