"""Network archives: a Keras v3 archive with one more member, `miha.json`.

Before Keras reads a byte of an archive, its checksums are compared and its members are vetted.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.archive.members import (
    FORMAT,
    MEMBER,
    checksums,
    genome,
    open_members,
    read_description,
    read_file,
)
from miha.errors import ArchiveError
from miha.records import Genome, Snapshot
from miha.utils.json_values import plain

if TYPE_CHECKING:
    import keras


def pack(network: bytes, description: Mapping[str, Any]) -> bytes:
    """Add MIHA's member to a Keras archive.

    Args:
        network: The Keras v3 archive.
        description: Genome, change, curve, fitness and parent, as JSON can hold them.

    Returns:
        The archive to write: still a Keras archive.
    """
    buffer = io.BytesIO(network)
    with zipfile.ZipFile(buffer, "a") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        record = {"format": FORMAT, "sha256": checksums(members), **plain(description)}
        text = json.dumps(record, indent=2, allow_nan=False)
        archive.writestr(MEMBER, text)
    return buffer.getvalue()


def largest_archive(archive: bytes, start: Snapshot) -> int:
    """Return about how many bytes the largest archive of a run will have.

    Args:
        archive: That of the network that the run begins with.
        start: That network's values.
    """
    weights = sum(array.nbytes for array in start.variables)
    slots = sum(array.nbytes for array in start.slots)
    # The run may come to Adam, or another optimizer with two slots a weight.
    further = max(2 * weights - slots, 0)
    return len(archive) + further


def describe(path: str | Path) -> dict[str, Any]:
    """Read what an archive says of its network, without loading the network.

    Args:
        path: The archive.

    Returns:
        Genome, change, curve, fitness, parent and the members' checksums.

    Raises:
        ArchiveError: There is no such archive, it is damaged, or MIHA did not write it.
    """
    return read(path)[0]


def read(path: str | Path) -> tuple[dict[str, Any], bytes]:
    """Read an archive and compare its members with their checksums.

    Args:
        path: The archive.

    Returns:
        What it says of its network, and its bytes.

    Raises:
        ArchiveError: There is no such archive, it is damaged, or MIHA did not write it.
    """
    description, data, _ = _open(Path(path))
    return description, data


def load(
    path: str | Path, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True
) -> tuple[keras.Model, Genome]:
    """Load a network that a run, or a stranger, archived.

    Loading runs nothing of the archive, writes nothing, and takes no more memory than the
    archive's size allows.

    Args:
        path: The archive, e.g. ``"logs/mnist/model/model_final.zip"``.
        custom_objects: Classes and functions of yours that the network uses, by name.
        safe_mode: Whether to refuse a network that holds code or names files (a Lambda layer).
            With False the archive may run any code: load only your own so.

    Returns:
        The network, compiled with its optimizer and that optimizer's state, and its genome.

    Raises:
        ArchiveError: There is no such archive, it is damaged, it holds what no archive should,
            or Keras refuses it.
    """
    description, data, members = _open(Path(path))
    from miha.archive.vetting import load_vetted

    # Anything but False means safe: to Keras, None is a third value.
    is_safe = safe_mode is not False
    try:
        model = load_vetted(data, members, custom_objects or {}, is_safe)
    except Exception as error:
        raise ArchiveError(
            "The archive must hold a network that is safe to load and that Keras can load. "
            f"Received: {str(path)!r}: {error}"
        ) from error
    return model, genome(description)


def _open(path: Path) -> tuple[dict[str, Any], bytes, dict[str, bytes]]:
    """Return an archive's description, bytes and members, with checksums compared."""
    try:
        data = read_file(path)
        members = open_members(data)
        return read_description(members), data, members
    # Of a damaged file, zipfile and zlib raise many kinds of errors.
    except Exception as error:
        raise ArchiveError(
            f"`path` must name an archive that MIHA wrote. Received: {str(path)!r}: "
            f"{type(error).__name__}: {error}."
        ) from error
