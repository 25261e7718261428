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
    """Write a file under a temporary name, wait for the disk, and rename it.

    Args:
        path: The file's final name; a file of that name is replaced in one step.
        data: The bytes.

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
            # Half a file must not take the last bytes of a full disk.
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    # Windows cannot open folders, and need not.
    if os.name == "nt":
        return
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
def on_disk(
    path: Path,
    need: int = 0,
) -> Iterator[None]:
    """Turn what the disk refuses in the block into a clear error.

    Args:
        path: What is written.
        need: How many bytes.

    Raises:
        StorageError: The disk refused.
    """
    try:
        yield
    except OSError as error:
        sizes = ""
        if need:
            sizes = f" ({megabytes(need)} needed, {megabytes(free_bytes(path))} free)"
        raise StorageError(
            f"The run's folder must be there and writable, with room. Received: {str(path)!r}: "
            f"{error.strerror or error}{sizes}. Mend that and run the same script again: it goes "
            "on after the last training that is on the disk."
        ) from error


@contextlib.contextmanager
def placed(path: Path) -> Iterator[None]:
    """Make the folder of a file that a user wants, and turn what is refused into a clear error.

    Args:
        path: What is written.

    Raises:
        StorageError: The disk refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        # A `StorageError` speaks of the run's folder, which this is not.
        cause = error.__cause__ if isinstance(error, StorageError) else error
        reason = getattr(cause, "strerror", None) or cause
        raise StorageError(
            "What is written must have a place that is writable, with room. Received: "
            f"{str(path)!r}: {reason}. Name another place."
        ) from error


def free_bytes(path: Path) -> int:
    """Return how much a user may still write where a file is, or would be."""
    places = (path, *path.absolute().parents)
    existing = next(place for place in places if os.path.exists(place))
    return shutil.disk_usage(existing).free


def megabytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / 1e6:,.1f} MB"
