"""The disk: files that are written whole or not at all, and clear words for what it refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from miha.errors import StorageError


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
        except OSError as error:
            # Some file systems of networks have nothing to do for a folder.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
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


@contextlib.contextmanager
def placed(path: Path) -> Iterator[None]:
    """Make the folder of what a user wants written somewhere, and say clearly what is refused.

    Args:
        path: What is written.

    Raises:
        StorageError: The disk refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        raise StorageError(
            "What is written must have a place that is writable, with room. Received: "
            f"{str(path)!r}: {getattr(cause, 'strerror', None) or cause}. Name another place."
        ) from error


def free_bytes(path: Path) -> int:
    """Return how much a user may still write where a file is, or would be."""
    there = next(place for place in (path, *path.absolute().parents) if os.path.exists(place))
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1e6:,.1f} MB"
