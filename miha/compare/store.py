"""The cells of a comparison on the disk: what is there is not run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from miha.compare.cells import Job
from miha.compare.records import Cell
from miha.errors import RunExistsError
from miha.storage.journal import Journal
from miha.utils.code_digest import digest, is_user_code
from miha.utils.json_values import plain

CELLS = "cells.jsonl"


@dataclass(frozen=True)
class Store:
    """A journal of cells, one line each, and what is in it by `key_of`."""

    journal: Journal
    cells: dict[str, Cell] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        folder: Path,
        about: Mapping[str, Any],
        overwrite: bool,
    ) -> Store:
        """Open the cells of a comparison, or start a new file.

        Raises:
            RunExistsError: They are of another comparison.
            JournalError: The file is damaged.
        """
        if overwrite:
            (folder / CELLS).unlink(missing_ok=True)
        journal = Journal(folder / CELLS)
        entries = journal.open()
        if not entries:
            journal.append({"comparison": about})
            return cls(journal)

        _check_same(folder, entries[0]["comparison"], about)
        store = cls(journal)
        for entry in entries[1:]:
            store.cells[entry["key"]] = Cell.from_dict(entry["cell"])
        return store

    def done(
        self,
        key: str,
        with_failures: bool = False,
    ) -> Cell | None:
        """Return a cell that has been run; None where it has not, or has failed."""
        cell = self.cells.get(key)
        if cell is None or (cell.failure and not with_failures):
            return None
        return cell

    def add(self, key: str, cell: Cell) -> None:
        """Write a cell down; a later one of the same key replaces an earlier one."""
        entry = {"key": key, "cell": cell.to_dict()}
        self.journal.append(entry)
        self.cells[key] = cell


def key_of(job: Job) -> str:
    """Return what a cell is: other settings or code of a strategy make another cell."""
    settings = json.dumps(settings_of(job.strategy))
    return f"{job.place} | {job.task.start} | {settings}"


def settings_of(
    value: Any,
    above: tuple[int, ...] = (),
) -> Any:
    """Return what a strategy or one of its settings is, as JSON can hold it.

    Args:
        value: Its settings are its attributes; what the user has written is told by its code, too.
        above: Numbers of the objects that it belongs to: one may belong to itself.
    """
    if id(value) in above:
        return "itself"
    within = (*above, id(value))
    if isinstance(value, Mapping):
        return {str(key): settings_of(item, within) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [settings_of(item, within) for item in value]
    if isinstance(value, (FunctionType, MethodType, partial, type)):
        return [plain(value), digest(value)]

    kind = type(value)
    package = kind.__module__.split(".")[0]
    if package != "miha" and not is_user_code(kind):
        return plain(value)
    settings = plain(value)
    if hasattr(value, "__dict__"):
        settings = settings_of(vars(value), within)
    return [kind.__qualname__, digest(kind), settings]


def _check_same(
    folder: Path,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> None:
    names = [name for name in wanted if found.get(name) != wanted[name]]
    if not names:
        return
    texts = []
    for name in names[:3]:
        text = f"{name} is {found.get(name)} and not {wanted[name]}"
        texts.append(text[:200])
    differing = "; ".join(texts)
    hint = ""
    if "space" in names:
        hint = " A start that the space did not hold widens it."
    raise RunExistsError(
        "A comparison goes on with the arguments, data and functions that it was begun with. "
        f"Received: logs={str(folder)!r}, where {differing}. Choose another folder, or replace "
        f"that comparison with overwrite=True.{hint}"
    )
