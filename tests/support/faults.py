"""A disk on which a process dies, or which refuses, at a chosen operation."""

from __future__ import annotations

import builtins
import errno
import os
import pathlib

import pytest

MODULES = ("miha.storage.disk", "miha.storage.journal")


class Crash(BaseException):
    """The process is gone: nothing may happen after it."""


class Disk:
    """Counts what a run asks of the disk, and fails at one of these operations.

    Args:
        monkeypatch: The test's.
        at: Number of the operation that fails, 0 for the first; None for none.
        kind: ``"crash"``: the process dies there, a write half done; ``"full"``: that operation
            fails as on a full disk, a write half done, and whatever comes after it works.
        share: Which share of the bytes a failing write leaves on the disk.
    """

    def __init__(self, monkeypatch, at: int | None = None, kind: str = "crash", share: float = 0.5):
        self.at, self.kind, self.share = at, kind, share
        self.operations: list[str] = []
        self.dead = False
        for module in MODULES:
            monkeypatch.setattr(f"{module}.os", _Os(self))
            monkeypatch.setattr(f"{module}.open", self.open, raising=False)
        for name in ("unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(
                pathlib.Path, name, self._wrapped(getattr(pathlib.Path, name), name)
            )

    def step(self, name: str) -> bool:
        """Count an operation; tell whether it fails."""
        if self.dead:
            raise Crash(name)
        self.operations.append(name)
        fails = len(self.operations) - 1 == self.at
        self.dead = fails and self.kind == "crash"
        return fails

    def fail(self) -> None:
        if self.kind == "crash":
            raise Crash
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, path, mode="r"):
        if set(mode) & set("wa+") and self.step(f"open {mode}"):
            self.fail()
        file = builtins.open(path, mode)
        return _File(self, file) if set(mode) & set("wa+") else file

    def _wrapped(self, function, name):
        def wrapper(*args, **kwargs):
            if self.step(name):
                self.fail()
            return function(*args, **kwargs)

        return wrapper


class _Os:
    """`os`, some of whose functions are counted."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name):
        if name == "fsync":  # No machine loses its power here: counted, but not waited for.
            return self._disk._wrapped(lambda descriptor: None, "fsync")
        return self._disk._wrapped(os.replace, name) if name == "replace" else getattr(os, name)


class _File:
    """A file without buffer, so that what was written is there when the process dies."""

    def __init__(self, disk: Disk, file) -> None:
        self._disk, self._file = disk, file

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data: bytes) -> None:
        if self._disk.step("write"):
            self._file.write(data[: int(len(data) * self._disk.share)])
            self._file.flush()
            self._disk.fail()
        self._file.write(data)
        self._file.flush()

    def truncate(self, length: int) -> None:
        if self._disk.step("truncate"):
            self._disk.fail()
        self._file.truncate(length)


@pytest.fixture(autouse=True, scope="module")
def quick_disk():
    """No machine loses its power in these tests: nobody waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield
