"""What some disks do not know."""

from __future__ import annotations

import errno
import os

import pytest

from miha.errors import StorageError
from miha.storage.disk import write_whole


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_disk_that_cannot_sync_folders_can_be_written(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def files_only(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", files_only)
    write_whole(tmp_path / "a.zip", b"data")
    assert (tmp_path / "a.zip").read_bytes() == b"data"


def test_a_disk_that_fails_to_sync_a_folder_is_told(tmp_path, monkeypatch):
    def failing(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(StorageError, match="Input/output error"):
        write_whole(tmp_path / "a.zip", b"data")
