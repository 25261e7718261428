"""The members of an archive that a stranger may have written: nothing in it is trusted."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

from miha.records import Genome

FORMAT = 1
MEMBER = "miha.json"
METADATA = "metadata.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
NAMES = (METADATA, CONFIG, WEIGHTS, MEMBER)
ASSETS = "assets/"

MOST_MEMBERS = 10_000
LARGEST_JSON = 32 * 2**20
"""Bytes. Parsed, JSON takes up to 24 times its size."""

_DATA_DESCRIPTOR = 0x08
_UTF8_NAME = 0x800


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file; a link to a regular file will do.

    Raises:
        OSError: It cannot be read.
        ValueError: It is a folder, a pipe or a device.
    """
    # Opening a pipe would wait for somebody who writes.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it must be a regular file, but it is a pipe, a device or a folder")
        return file.read(status.st_size)


def open_members(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive by name, each compared with its CRC.

    Args:
        data: The archive's bytes.

    Raises:
        ValueError: It holds something that no archive of MIHA's holds. Damage raises what
            `zipfile` raises.
    """
    # A directory of millions of empty members would take far more memory than the file.
    if data.count(b"PK\x01\x02") > MOST_MEMBERS:
        raise ValueError(f"an archive must have at most {MOST_MEMBERS} members")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        for entry in entries:
            _check_entry(entry)
        _check_together(entries, len(data))
        return {entry.filename: archive.read(entry) for entry in entries}


def read_description(members: dict[str, bytes]) -> dict[str, Any]:
    """Return what `miha.json` says, its checksums compared with all other members.

    Args:
        members: The archive's members by name.

    Raises:
        ValueError: It is missing, is of another format, or does not fit the other members.
    """
    if MEMBER not in members:
        raise ValueError(f"there is no {MEMBER!r} in it; was it saved by Keras alone?")
    description = parse(members[MEMBER], MEMBER)
    _check_format(description.get("format"))
    if description.get("sha256") != checksums(members):
        raise ValueError(
            f"the members must have the checksums that {MEMBER!r} lists, and do not; "
            "the file is damaged or was changed"
        )
    genome(description)
    return description


def checksums(members: dict[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of every member but MIHA's own."""
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in members.items()
        if name != MEMBER
    }


def parse(text: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object of a member.

    Args:
        text: The member's content.
        name: Its name, for the error.

    Raises:
        ValueError: It is too large, no JSON, or no object.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"{name!r} must have at most {LARGEST_JSON} bytes, but has {len(text)}")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{name!r} must not be nested this deeply") from error
    except ValueError as error:
        raise ValueError(f"{name!r} must be JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} must hold a JSON object, but holds a {type(found).__name__}")
    return found


def genome(description: dict[str, Any]) -> Genome:
    """Return the genome that a description holds.

    Args:
        description: What `miha.json` says.

    Raises:
        ValueError: It holds none, or one that no network can have.
    """
    values = description.get("genome")
    if not isinstance(values, dict) or not _is_genome(values):
        raise ValueError(
            "its 'genome' must have an optimizer, a positive learning rate or null, a batch size "
            f"of at least 1 and activations by name, but is {str(values)[:200]}"
        )
    return Genome.from_dict(values)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Raise unless a member is what MIHA writes: a plain file, stored as it is."""
    name = entry.orig_filename
    if name not in NAMES and not _is_asset(name):
        raise ValueError(f"the member {name!r} is none that an archive of MIHA's has")
    # The upper half is the file's mode on Unix; other systems write none.
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ValueError(f"the member {name!r} must be a regular file, but is a link or another")
    is_stored = entry.compress_type == zipfile.ZIP_STORED
    if not is_stored or entry.compress_size != entry.file_size:
        raise ValueError(f"the member {name!r} must be stored as it is, but is compressed")
    if entry.flag_bits & ~(_DATA_DESCRIPTOR | _UTF8_NAME):
        raise ValueError(f"the member {name!r} must not be encrypted or patched")


def _is_asset(name: str) -> bool:
    if not name.startswith(ASSETS) or set(name) & set("\\:\0"):
        return False
    # A part of dots and spaces may lead out of the folder.
    return all(part.strip(". ") for part in name.split("/"))


def _check_together(entries: list[zipfile.ZipInfo], size: int) -> None:
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError(f"no two members may have the same name, but there are {names[:10]}")
    declared = sum(entry.file_size for entry in entries)
    if declared > size:
        raise ValueError(f"the members must fit in {size} bytes, but declare {declared}")


def _check_format(found: Any) -> None:
    if type(found) is int and found > FORMAT:
        raise ValueError(
            f"format {found} is not known to this version, which reads {FORMAT}; "
            "load it with a newer version of MIHA"
        )
    if type(found) is not int or found != FORMAT:
        raise ValueError(f"format {found!r} is not known to this version, which reads {FORMAT}")


def _is_genome(values: dict[str, Any]) -> bool:
    rate = values.get("learning_rate")
    size = values.get("batch_size")
    names = values.get("activations")
    if not isinstance(values.get("optimizer"), str):
        return False
    if rate is not None and not (_is_amount(rate) and rate > 0):
        return False
    if type(size) is not int or size < 1:
        return False
    if not isinstance(names, dict) or not _all_text(names):
        return False
    return _has_amounts(values)


def _all_text(names: dict[str, Any]) -> bool:
    return all(isinstance(name, str) for name in names.values())


def _has_amounts(values: dict[str, Any]) -> bool:
    # Of the whole network, an amount may be null: it has no such hyperparameter.
    amounts = [values.get(gene) for gene in ("weight_decay", "label_smoothing", "augmentation")]
    amounts = [amount for amount in amounts if amount is not None]
    for gene in ("dropout", "noise", "input_noise"):
        of_layers = values.get(gene, {})
        if not isinstance(of_layers, dict):
            return False
        amounts += of_layers.values()
    return all(map(_is_amount, amounts))


def _is_amount(value: Any) -> bool:
    # A boolean is an integer to `isinstance`.
    return type(value) in (int, float) and 0 <= value < math.inf
