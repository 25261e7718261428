"""Read a run's folder, whatever the run is doing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from miha.archive.archive import load
from miha.errors import JournalError, MihaError
from miha.results.result import Result
from miha.storage.folder import RunFolder
from miha.storage.journal import JOURNAL, Entry, GrowingJournal, Journal
from miha.storage.lock import is_locked
from miha.storage.logbook import Logbook


def load_run(
    path: str | Path,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
) -> Result:
    """Read a run that is finished, running or interrupted; nothing is changed.

    Networks are loaded when `model` or `best_model` is first asked for.

    Args:
        path: The run's folder, e.g. ``"logs/mnist"``.
        custom_objects: Classes and functions of yours that the network uses, by name.
        safe_mode: Whether to refuse a network whose archive holds code (a Lambda layer).

    Returns:
        What has happened so far; its `state` says whether that is all.

    Raises:
        JournalError: There is no run, it is damaged, or a later version wrote it.
    """
    folder = RunFolder(Path(path))
    arguments = folder.description()["arguments"]
    # Asked before the journal is read: a run that ends meanwhile is called running, not stopped.
    is_running = is_locked(folder.path)
    log = Logbook.of(Journal(folder.path / JOURNAL).read())

    def load_network(archive: Path) -> Any:
        network, _ = load(archive, custom_objects, safe_mode)
        return network

    return _result(folder, arguments, log, is_running, load_network)


class RunReader:
    """Reads a run again and again while it grows; what was read is not read again.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: str | Path) -> None:
        self._folder = RunFolder(Path(path))
        self._journal = GrowingJournal(self._folder.path / JOURNAL)
        self._entries: list[Entry] = []
        self._log = Logbook()

    def read(self) -> Result:
        """Return the run as it is now; its networks cannot be loaded.

        Raises:
            JournalError: There is no run, it is damaged, or a later version wrote it.
        """
        arguments = self._folder.description()["arguments"]
        is_running = is_locked(self._folder.path)
        entries = self._journal.read()
        known = len(self._entries)
        # By identity: another run has other entries, of the same length perhaps.
        is_shorter = known > len(entries)
        if known and (is_shorter or entries[known - 1] is not self._entries[-1]):
            self._log = Logbook()
            known = 0
        self._log.extend(entries[known:])
        self._entries = entries
        return _result(self._folder, arguments, self._log.copy(), is_running, _no_network)


def _result(
    folder: RunFolder,
    arguments: Mapping[str, Any],
    log: Logbook,
    is_running: bool,
    load_network: Callable[[Path], Any],
) -> Result:
    log.mode = arguments["mode"]
    state = "running" if is_running else "interrupted"
    if log.is_finished:
        state = "finished"
    return Result(
        monitor=arguments["monitor"],
        run_dir=folder.path,
        state=state,
        log=log,
        mode=arguments["mode"],
        _load=load_network,
    )


def _no_network(archive: Path) -> Any:
    raise MihaError(
        f"A run that is only watched has no networks. Received: {str(archive)!r}. "
        "Read it with miha.load_run."
    )


def start_time(result: Result) -> float:
    """Return when a run began, in seconds since 1970; 0 where that is unknown.

    A training began as many seconds later as the run had trained before it. What lies between
    the trainings, and between the processes of a run that was interrupted, is not counted.
    """
    try:
        started = RunFolder(result.run_dir).description().get("started", "")
        return datetime.datetime.fromisoformat(started).timestamp()
    except (JournalError, ValueError):
        return 0.0
