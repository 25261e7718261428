"""Network archives: a Keras v3 archive with one more member, `miha.json`."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import ArchiveError
from miha.journal import plain
from miha.records import Genome

if TYPE_CHECKING:
    import keras

FORMAT = 1
MEMBER = "miha.json"


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
        sums = {name: _sha256(archive.read(name)) for name in archive.namelist()}
        record = {"format": FORMAT, "sha256": sums, **plain(description)}
        archive.writestr(MEMBER, json.dumps(record, indent=2, allow_nan=False))
    return buffer.getvalue()


def describe(path: str | Path) -> dict[str, Any]:
    """Read what an archive says of its network, without loading the network.

    Args:
        path: The archive.

    Returns:
        Genome, change, curve, fitness, parent and the members' checksums.

    Raises:
        ArchiveError: There is no such archive, or it is damaged.
    """
    return _read(Path(path))[0]


def load(
    path: str | Path, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True
) -> tuple[keras.Model, Genome]:
    """Load a network that a run archived.

    Args:
        path: The archive, e.g. ``"logs/mnist/model/model_final.zip"``.
        custom_objects: Classes and functions of yours that the network uses, by name.
        safe_mode: Whether to refuse a network whose archive holds code (a Lambda layer).

    Returns:
        The network, compiled with its optimizer and that optimizer's state, and its genome.

    Raises:
        ArchiveError: There is no such archive, it is damaged, or Keras refuses it.
    """
    description, data = _read(Path(path))
    from miha.trainer.copies import from_bytes

    try:
        model = from_bytes(data, custom_objects, safe_mode)
    except Exception as error:
        raise ArchiveError(
            f"The archive must hold a network that Keras can load. Received: {str(path)!r}: "
            f"{error} Pass classes of your own as `custom_objects`."
        ) from error
    return model, Genome.from_dict(description["genome"])


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return an archive's description and bytes, its checksums verified."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            description = json.loads(archive.read(MEMBER))
            members = sorted(set(archive.namelist()) - {MEMBER})
            _check_format(description)
            sums = {name: _sha256(archive.read(name)) for name in members}
    except Exception as error:  # zipfile and zlib have many ways to meet a damaged file.
        raise ArchiveError(
            f"`path` must name an archive that MIHA wrote. Received: {str(path)!r}: {error!r}."
        ) from error
    if sums != description.get("sha256"):
        raise ArchiveError(
            f"The members of an archive must have the checksums that `{MEMBER}` lists. "
            f"Received: {str(path)!r}, where they differ. The file is damaged or was changed."
        )
    return description, data


def _check_format(description: Any) -> None:
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise ValueError(f"format {found!r} is not known to this version, which reads {FORMAT}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
