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

JOURNAL = "journal.jsonl"
"""Its name in a run's folder."""

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
        return _whole_lines(self._path, _bytes(self._path), _Line({}, 0, 0))


class GrowingJournal:
    """A journal that another process writes: what was read is not read again.

    Args:
        path: The file, there or not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # What was read: the entries, the last line, and which file it was.
        self._entries: list[Entry] = []
        self._last = _Line({}, 0, 0)
        self._file = 0

    def read(self) -> list[Entry]:
        """Return all whole lines so far; a torn last one is left out.

        Raises:
            JournalError: A line before the last is damaged.
        """
        if not self._has_grown():
            self._forget()
        try:
            self._read_on()
        except JournalError:
            # It may be the journal of another run by now: then it is whole from its beginning.
            self._forget()
            self._read_on()
        return self._entries

    def _has_grown(self) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        is_same = status.st_ino == self._file and status.st_size >= self._last.end
        self._file = status.st_ino
        return is_same

    def _forget(self) -> None:
        # A new list: whoever was given the old one may still read it.
        self._entries = []
        self._last = _Line({}, 0, 0)

    def _read_on(self) -> None:
        begin = self._last.end
        data = _bytes(self._path, begin)
        lines = _whole_lines(self._path, data, self._last)
        if lines:
            self._last = lines[-1]
            self._entries = [*self._entries, *(line.entry for line in lines)]
        is_torn = not data.endswith(b"\n")
        if begin and not is_torn and self._last.end < begin + len(data):
            # A whole line that does not follow: it is another run's.
            raise _damaged(self._path, len(self._entries) + 1)


def _whole_lines(path: Path, data: bytes, before: _Line) -> list[_Line]:
    """Return the whole lines of a part of a journal.

    Args:
        path: The journal.
        data: What is read of it.
        before: The line before.

    Raises:
        JournalError: A line before the last is damaged.
    """
    texts = io.BytesIO(data).readlines()
    lines: list[_Line] = []
    end = before.end
    crc = before.crc
    for number, text in enumerate(texts, 1):
        match = _LINE.fullmatch(text)
        if match is not None:
            crc = zlib.crc32(match[2], crc)
        if match is None or match[1] != b"%08x" % crc:
            if number < len(texts):
                raise _damaged(path, number)
            break
        end += len(text)
        lines.append(_Line(json.loads(b"{" + match[2]), end, crc))
    return lines


def _bytes(path: Path, begin: int = 0) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read()
    except FileNotFoundError:
        # Nothing has been journalled yet.
        return b""


def _damaged(path: Path, number: int) -> JournalError:
    return JournalError(
        "Every line of a journal but the last must have its checksum. "
        f"Received: {str(path)!r}, line {number}, which has not: it was damaged or "
        "changed. Bring the file back from a copy, or replace the run with overwrite=True."
    )
