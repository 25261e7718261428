"""What some disks do not know."""

from __future__ import annotations

import errno
import os

import pytest

from miha.errors import StorageError
from miha.storage.disk import free_bytes, on_disk, placed, write_whole


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


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    write_whole(tmp_path / "a.zip", b"old")
    write_whole(tmp_path / "a.zip", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.zip", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match=r"No space left on device \(0.0 MB needed, [\d,.]+ MB"):
        write_whole(tmp_path / "a.zip", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"old"


def test_the_folder_of_what_a_user_wants_is_made(tmp_path):
    with placed(tmp_path / "a" / "b" / "page.html"):
        assert (tmp_path / "a" / "b").is_dir()


def test_what_a_user_cannot_have_written_is_told_without_the_runs_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match="'.*page.html': (File exists|Not a directory)"):
        with placed(tmp_path / "file" / "page.html"):
            pass
    with pytest.raises(StorageError, match="taken': Is a directory. Name another") as caught:
        with placed(tmp_path / "taken"):
            write_whole(tmp_path / "taken", b"page")
    assert "run's folder" not in str(caught.value)


def test_an_error_that_is_none_of_the_disks_passes(tmp_path):
    with pytest.raises(ZeroDivisionError), on_disk(tmp_path):
        raise ZeroDivisionError


def test_free_bytes_are_those_of_the_nearest_folder_there_is(tmp_path):
    assert abs(free_bytes(tmp_path / "no" / "such" / "file") - free_bytes(tmp_path)) < 2**30
