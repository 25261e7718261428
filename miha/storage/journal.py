"""The journal: one line for each thing that has happened, each with a checksum."""

from __future__ import annotations

import io
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miha.errors import JournalError
from miha.storage.disk import on_disk, sync_folder
from miha.utils.json_values import plain

Entry = Mapping[str, Any]

_LINE = re.compile(rb'\{"crc32": "([0-9a-f]{8})", (.*\n)', re.DOTALL)


@dataclass(frozen=True)
class _Line:
    """A whole line: what it says, where it ends in the file, and the checksum up to there."""

    entry: Entry
    end: int
    crc: int


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
        return [line.entry for line in self._lines()]

    def open(self) -> list[Entry]:
        """Return the whole lines and make ready to append: a torn last one is cut off.

        Raises:
            JournalError: A line before the last is damaged.
        """
        return self.cut(len(self._lines()))

    def cut(self, count: int) -> list[Entry]:
        """Cut off all but the first lines, make ready to append, and return those lines."""
        lines = self._lines()[:count]
        length = lines[-1].end if lines else 0
        self._crc = lines[-1].crc if lines else 0
        if self._path.exists() and self._path.stat().st_size > length:
            with on_disk(self._path), open(self._path, "r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())
        return [line.entry for line in lines]

    def append(self, entry: Entry) -> None:
        """Append one line and see it on the disk.

        Raises:
            StorageError: The disk refuses. What of the line is written is cut off by `open`.
        """
        text = json.dumps(plain(entry), allow_nan=False)
        # Without its first brace: the checksum comes before.
        body = text[1:].encode() + b"\n"
        crc = zlib.crc32(body, self._crc)
        line = b'{"crc32": "%08x", ' % crc + body
        is_new = not self._path.exists()
        with on_disk(self._path, len(line)):
            with open(self._path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                # A file whose name is not on the disk is lost with the power.
                sync_folder(self._path.parent)
        self._crc = crc

    def _lines(self) -> list[_Line]:
        """Return the whole lines.

        Raises:
            JournalError: A line before the last is damaged.
        """
        texts = io.BytesIO(self._bytes()).readlines()
        lines: list[_Line] = []
        end = 0
        crc = 0
        for number, text in enumerate(texts, 1):
            match = _LINE.fullmatch(text)
            if match is not None:
                crc = zlib.crc32(match[2], crc)
            if match is None or match[1] != b"%08x" % crc:
                self._check_last(number, len(texts))
                break
            end += len(text)
            lines.append(_Line(json.loads(b"{" + match[2]), end, crc))
        return lines

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            # Nothing has been journalled yet.
            return b""

    def _check_last(self, number: int, count: int) -> None:
        if number < count:
            raise JournalError(
                "Every line of a journal but the last must have its checksum. "
                f"Received: {str(self._path)!r}, line {number}, which has not: it was damaged or "
                "changed. Bring the file back from a copy, or replace the run with overwrite=True."
            )
