"""The run's folder: its layout, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from itertools import count
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
INITIAL = "model/model_init.zip"
FINAL = "model/model_final.zip"

RUNNING = "running.json"
"""What a run does at this moment; there as long as it does something."""

CHECKPOINT = "checkpoint.bin"
"""How far the training at hand has come; there as long as it takes."""

_SKELETON = {"model", "population", "run.log", "run.json.part"}
"""What a run that was killed before it wrote `run.json` has left, hidden files aside."""

_ARCHIVES = ("model/model_*.zip", "population/*_model.zip")
_SHOWN = ("report.html", "tensorboard/**/events.out.tfevents.*.miha")
_KEPT: dict[Keep, tuple[str, ...]] = {
    "all": _ARCHIVES,
    "model": _ARCHIVES[:1],
    "final": (FINAL,),
    "none": (),
}
"""Which archives stay after a run, beside those of the result."""

_TABLES = ("history.csv", "lineage.csv")
_WRITTEN = ("journal.jsonl", RUNNING, CHECKPOINT, *_TABLES, "run.log", *_ARCHIVES, *_SHOWN)
"""What a run writes beside `run.json`; all else in its folder is somebody else's."""


def archive_name(
    phase: Phase,
    cycle: int | None,
    clone: int | None,
) -> str:
    """Return the name of the archive that a training writes, relative to the run's folder."""
    names = {
        "initial": INITIAL,
        "clone": f"population/{cycle}_{clone}_model.zip",
        "winner": f"model/model_{cycle}.zip",
        "final": FINAL,
    }
    return names[phase]


def earlier_end(number: int) -> str:
    """Return the name of the archive with an end that a run had, before it went on.

    Args:
        number: How many times it had been extended then, this time included.
    """
    return f"model/model_end_{number}.zip"


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
            is_new = not self.path.exists() or self._is_skeleton()
            is_free = is_new or self.has_run
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

    @property
    def has_training(self) -> bool:
        """Whether a run has finished a training here; before that, the folder is nobody's."""
        return self.has_run and (self._has_journal_line or self._has_later_archive)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a run has noted here how far a training has come."""
        return self.has_run and (self.path / CHECKPOINT).is_file()

    @property
    def _has_journal_line(self) -> bool:
        journal = self.path / "journal.jsonl"
        with on_disk(journal):
            # The first line tells of the first training; a torn one has no end.
            return journal.is_file() and b"\n" in journal.read_bytes()

    @property
    def _has_later_archive(self) -> bool:
        """Whether there is an archive that a run writes only after its first training."""
        early = {self.path / name for name in (START, INITIAL)}
        for pattern in _ARCHIVES:
            if set(self.path.glob(pattern)) - early:
                return True
        return False

    def description(self) -> dict[str, Any]:
        """Return what `run.json` says of the run.

        Raises:
            JournalError: It is missing, damaged or of a later version.
        """
        path = self.path / "run.json"
        try:
            description = json.loads(path.read_bytes())
            found = description["format"]
            checksum = description.pop("sha256")
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
        if checksum != _checksum(description):
            raise JournalError(
                "A run's `run.json` must have its checksum. "
                f"Received: {str(path)!r}, which has not: it was damaged or changed. Bring the "
                "file back from a copy, or replace the run with overwrite=True."
            )
        return dict(description)

    def write_description(self, description: Mapping[str, Any]) -> None:
        """Write `run.json`, with a checksum of all that it says."""
        values = plain(description)
        # Sorted: the checksum is that of the text, and must not depend on an order.
        signed = {**values, "sha256": _checksum(values)}
        text = json.dumps(signed, indent=2, sort_keys=True)
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

    def clear(self, kept: str = "") -> None:
        """Delete what a run has written but `run.json`, which the next run replaces.

        The journal goes first: what is left if this is interrupted is a run that has not begun.

        Args:
            kept: A file that stays.
        """
        self._delete(_WRITTEN, [self.path / kept])

    def sweep(self) -> None:
        """Delete what a killed run has left half written."""
        patterns = ("run.json", *_WRITTEN)
        self._delete([f"{pattern}.part" for pattern in patterns])

    def write_archive(self, name: str, data: bytes) -> None:
        """Write a network's archive, whole or not at all."""
        write_whole(self.path / name, data)

    def keep(
        self,
        what: Keep,
        results: Collection[str],
    ) -> None:
        """Delete the archives that shall not stay after the run.

        Args:
            what: Which stay.
            results: The archives of the result, the last and the best, which stay unless
                nothing does.
        """
        self.delete_archives(() if what == "none" else results, what)
        for part in ("model", "population"):
            # A folder that still has archives is not empty, and stays.
            with contextlib.suppress(OSError):
                (self.path / part).rmdir()

    def delete_archives(
        self,
        but: Collection[str | None],
        what: Keep = "none",
    ) -> None:
        """Delete archives.

        Args:
            but: Names of some that stay.
            what: Which others stay.
        """
        kept = {self.path / name for name in but if name is not None}
        for pattern in _KEPT[what]:
            kept.update(self.path.glob(pattern))
        self._delete(_ARCHIVES, kept)

    def check_space(self, need: int, archives: int) -> None:
        """Raise unless the disk has space for what a run will write.

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

    def _delete(
        self,
        patterns: Iterable[str],
        kept: Collection[Path] = (),
    ) -> None:
        for pattern in patterns:
            for file in self.path.glob(pattern):
                if file not in kept:
                    with on_disk(file):
                        file.unlink()

    def _is_skeleton(self) -> bool:
        """Return whether a run was killed here before it had begun."""
        if not self.path.is_dir():
            return False
        # Hidden files are the operating system's, and the lock.
        for file in self.path.iterdir():
            is_hidden = file.name.startswith(".")
            if not is_hidden and file.name not in _SKELETON:
                return False
        if any(self.path.glob("model/*")):
            return False
        return not any(self.path.glob("population/*"))


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def new_folder(parent: Path) -> Path:
    """Make a new folder, named by the time, and return it.

    Raises:
        StorageError: It cannot be made.
    """
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    folder = parent / name
    # Of two runs that begin in one second, the second gets a number.
    for number in count(2):
        with on_disk(folder), contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
        folder = parent / f"{name}-{number}"
    return folder
