"""A lock on a run's folder: two processes never write the same run."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from miha.errors import MihaWarning, RunLockedError
from miha.storage.disk import on_disk

NAME = ".lock"

PATIENCE = 100
"""How often to ask for a lock, in about a second: one reader after another may hold it."""

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int, share: bool = False) -> None:
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # Beyond the text, which stays readable.
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int, share: bool = False) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if share else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder.

    The system gives it back when the process ends, however it ends.

    Args:
        folder: It must be there.

    Raises:
        RunLockedError: Another process, or another run of this one, holds it.
    """
    path = folder / NAME
    with on_disk(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take_or_raise(descriptor, path)
        _held.add(descriptor)
        with on_disk(path):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Hold a file's lock for a moment; wait for it as long as another process does so.

    Args:
        path: The file, made where it is not there; nothing is written into it.
    """
    with on_disk(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _try(descriptor):
            time.sleep(0.001)
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Tell whether a process is at work in a run's folder."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try(descriptor, share=True)
    finally:
        os.close(descriptor)


def _try(descriptor: int, share: bool = False) -> bool:
    """Take a lock, and tell whether nobody else holds it; readers share theirs."""
    try:
        _take(descriptor, share)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        warnings.warn(
            f"The disk knows no locks ({error.strerror}): see to it yourself that no second "
            "process works in the run's folder.",
            MihaWarning,
            stacklevel=4,
        )
    return True


def _take_or_raise(descriptor: int, path: Path) -> None:
    for _ in range(PATIENCE):
        if _try(descriptor):
            return
        time.sleep(0.01)  # A reader that only asks is gone at once.
    owner = path.read_text(errors="replace").strip() or "a process that has just begun"
    raise RunLockedError(
        "Only one process may work in a run's folder. "
        f"Received: logs={str(path.parent)!r}, where {owner} is at work. "
        "Wait for it, stop it, or choose another folder."
    )


def _close_held() -> None:
    """Let a forked child not hold the lock on when this process is gone."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


_held: set[int] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_held)
