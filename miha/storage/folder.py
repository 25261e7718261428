"""The run's folder: its layout, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

from miha.errors import JournalError, RunExistsError, StorageError
from miha.records import Phase
from miha.storage.disk import free_bytes, megabytes, on_disk, write_whole
from miha.utils.json_values import plain

Keep = Literal["all", "model", "final", "none"]

FORMAT = 2
"""Of `run.json` and the journal; a reader knows its own and every earlier one."""

START = "model/model_start.zip"
FINAL = "model/model_final.zip"

_SKELETON = {"model", "population", "run.log", "run.json.part"}
"""What a run that was killed before it wrote `run.json` has left, hidden files aside."""

_ARCHIVES = ("model/model_*.zip", "population/*_model.zip")
_SHOWN = ("report.html", "tensorboard/**/events.out.tfevents.*.miha")
_WRITTEN = ("journal.jsonl", "history.csv", "lineage.csv", "run.log", *_ARCHIVES, *_SHOWN)
"""What a run writes beside `run.json`; all else in its folder is somebody else's."""


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
            found, told = description["format"], description.pop("sha256")
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
        if told != _checksum(description):
            raise JournalError(
                "A run's `run.json` must have its checksum. "
                f"Received: {str(path)!r}, which has not: it was damaged or changed. Bring the "
                "file back from a copy, or begin anew with overwrite=True."
            )
        return dict(description)

    def write_description(self, description: Mapping[str, Any]) -> None:
        """Write `run.json`, with a checksum of all that it says."""
        values = plain(description)
        text = json.dumps({**values, "sha256": _checksum(values)}, indent=2, sort_keys=True)
        write_whole(self.path / "run.json", (text + "\n").encode())

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
        self._delete(_WRITTEN)

    def sweep(self) -> None:
        """Delete what a killed run has left half written."""
        self._delete([f"{pattern}.part" for pattern in ("run.json", *_WRITTEN)])

    def write_archive(self, name: str, data: bytes) -> None:
        """Write a network's archive, whole or not at all."""
        write_whole(self.path / name, data)

    def keep(self, what: Keep, results: Collection[str]) -> None:
        """Delete the archives that shall not stay after the run.

        Args:
            what: Which stay.
            results: The archives of the result, the last and the best, which stay unless
                nothing does.
        """
        stays = {"all": _ARCHIVES, "model": _ARCHIVES[:1], "final": (FINAL,), "none": ()}[what]
        kept = {self.path / name for name in results if what != "none"}
        kept |= {file for pattern in stays for file in self.path.glob(pattern)}
        self._delete(_ARCHIVES, kept)
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

    def _delete(self, patterns: Iterable[str], kept: Collection[Path] = ()) -> None:
        for file in chain.from_iterable(map(self.path.glob, patterns)):
            if file not in kept:
                with on_disk(file):
                    file.unlink()

    def _is_skeleton(self) -> bool:
        """Tell whether a run was killed here before it had begun."""
        if not self.path.is_dir():
            return False
        names = {file.name for file in self.path.iterdir()}
        if {name for name in names if not name.startswith(".")} - _SKELETON:
            return False
        return not any(self.path.glob("model/*")) and not any(self.path.glob("population/*"))


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


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
