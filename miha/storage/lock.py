"""A lock on a run's folder: two processes never write the same run."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from miha.errors import RunLockedError
from miha.storage.disk import on_disk
from miha.utils.warn import warn

NAME = ".lock"

PATIENCE = 1.0
"""Seconds to ask for a lock, because one reader after another may have it for a moment."""


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk says. Whatever else it says to a lock, it has none."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder.

    The system releases the lock when the process ends, however it ends.

    Args:
        folder: It must be there.

    Raises:
        RunLockedError: Another process, or another run of this process, has locked it.
    """
    path = folder / NAME
    try:
        lock = _acquire(path, PATIENCE, poll_interval=0.01)
    except Timeout as error:
        owner = _read_owner(path) or "a process that has just begun"
        raise RunLockedError(
            "Only one process may work in a run's folder. "
            f"Received: logs={str(folder)!r}, where {owner} is at work. "
            "Wait for it, stop it, or choose another folder."
        ) from error
    try:
        _write_owner(path, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
        _write_owner(path, "")
    finally:
        lock.release()


@contextlib.contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Lock a file for a moment; wait as long as another process has locked it.

    Args:
        path: The file, made where it is not there; nothing is written into it.
    """
    lock = _acquire(path, timeout=-1, poll_interval=0.001)
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process is at work in a run's folder."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _take_as_reader(descriptor)
    except OSError as error:
        _warn_of_no_locks(error)
        return False
    finally:
        os.close(descriptor)


def _acquire(
    path: Path,
    timeout: float,
    poll_interval: float,
) -> FileLock:
    # The package would make a folder that is not there.
    with on_disk(path):
        path.touch(0o644)

    lock = FileLock(path, timeout, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire(poll_interval=poll_interval)
    except Timeout:
        raise
    except OSError as error:
        if error.errno in FULL:
            with on_disk(path):
                raise
        _warn_of_no_locks(error)
    return lock


if sys.platform == "win32":

    def _take_as_reader(descriptor: int) -> bool:
        return lock_descriptor(descriptor, blocking=False)

    # Windows lets nobody read or write what is locked.
    def _write_owner(path: Path, text: str) -> None:
        """Do nothing."""

    def _read_owner(path: Path) -> str:
        return ""

else:
    import fcntl

    # By hand: the package has no lock that readers share and that leaves no trace in the folder.
    # With its own one, two readers at the same time would take each other for a run.
    def _take_as_reader(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _write_owner(path: Path, text: str) -> None:
        with on_disk(path):
            path.write_text(text)

    def _read_owner(path: Path) -> str:
        return path.read_text(errors="replace").strip()


def _warn_of_no_locks(error: OSError) -> None:
    warn(
        f"The disk knows no locks ({error.strerror}): see to it yourself that no second "
        "process works in the run's folder."
    )
