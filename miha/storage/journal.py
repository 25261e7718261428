"""The journal: one line for each thing that has happened, each with a checksum."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miha.errors import JournalError
from miha.storage.disk import on_disk, sync_folder
from miha.utils.json_values import plain

Entry = Mapping[str, Any]

_LINE = re.compile(rb'\{"crc32": "([0-9a-f]{8})", (.*)\n', re.DOTALL)


class Journal:
    """An append-only file of JSON lines.

    Each line begins with the CRC-32 of all the rest of it and of the lines before: a line that is
    changed, lost or moved is noticed. A crash can tear the last line only.

    Args:
        path: The file, there or not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._crc = 0

    def read(self) -> list[Entry]:
        """Return the whole lines; a torn last one is left out.

        Raises:
            JournalError: A line before the last is damaged.
        """
        return [entry for entry, _, _ in self._lines()]

    def open(self) -> list[Entry]:
        """Return the whole lines and make ready to append: a torn last one is cut off.

        Raises:
            JournalError: A line before the last is damaged.
        """
        return self.cut(len(self._lines()))

    def cut(self, count: int) -> list[Entry]:
        """Cut off all but the first lines, make ready to append, and return those lines."""
        lines = self._lines()[:count]
        length = lines[-1][1] if lines else 0
        self._crc = lines[-1][2] if lines else 0
        if self._path.exists() and self._path.stat().st_size > length:
            with on_disk(self._path), open(self._path, "r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())
        return [entry for entry, _, _ in lines]

    def append(self, entry: Entry) -> None:
        """Append one line and see it on the disk.

        Raises:
            StorageError: The disk refuses. What of the line is written is cut off by `open`.
        """
        body = (json.dumps(plain(entry), allow_nan=False)[1:] + "\n").encode()
        crc = zlib.crc32(body, self._crc)
        line = b'{"crc32": "%08x", ' % crc + body
        is_new = not self._path.exists()
        with on_disk(self._path, len(line)):
            with open(self._path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_folder(self._path.parent)
        self._crc = crc

    def _lines(self) -> list[tuple[Entry, int, int]]:
        """Return entry, end and checksum of each whole line."""
        data = self._bytes()
        found: list[tuple[Entry, int, int]] = []
        end, crc = 0, 0
        while end < len(data):
            line = data[end : (data.find(b"\n", end) + 1) or len(data)]
            match, end = _LINE.fullmatch(line), end + len(line)
            crc = zlib.crc32(match[2] + b"\n", crc) if match else crc
            if match is None or match[1] != b"%08x" % crc:
                self._check_last(end == len(data), len(found) + 1)
                break
            found.append((json.loads(b"{" + match[2]), end, crc))
        return found

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:  # Nothing has been journalled yet.
            return b""

    def _check_last(self, is_last: bool, number: int) -> None:
        if not is_last:
            raise JournalError(
                "Every line of a journal but the last must have its checksum. "
                f"Received: {str(self._path)!r}, line {number}, which has not: it was damaged or "
                "changed. Bring the file back from a copy, or begin anew with overwrite=True."
            )
