"""Full disks, folders that cannot be written, folders that vanish."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from fakes import FakeTrainer, make_loop, run
from stories import story

from miha.archive.archive import describe
from miha.callbacks import Callback
from miha.errors import StorageError
from miha.storage.disk import free_bytes, write_whole
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal

SCHEDULE = {"m": 2, "n": 2, "k": 1, "c": 3, "pop_size": 3}
PADDING = 200_000


def padded() -> FakeTrainer:
    return FakeTrainer(padding=PADDING)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    run(make_loop(path, padded(), **SCHEDULE))
    return story(path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 1.5 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k", "miha", tmp_path]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def enlarge(disk) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


def check_whole(path: Path) -> int:
    """Check that nothing on the disk is damaged; return how many archives there are."""
    archives = list(path.glob("*/*.zip"))
    for archive in archives:
        describe(archive)
    Journal(path / "journal.jsonl").read()
    assert not list(path.rglob("*.part"))
    return len(archives)


def test_a_disk_that_fills_loses_nothing(small_disk, expected):
    path = small_disk / "run"
    with pytest.raises(StorageError, match=r"\.zip'.*No space left.*needed, .* free") as caught:
        run(make_loop(path, padded(), **SCHEDULE))
    assert str(path) in str(caught.value)
    assert check_whole(path) in range(4, 10)
    with pytest.raises(StorageError, match="No space left"):
        run(make_loop(path, padded(), **SCHEDULE))  # There is still no room.
    check_whole(path)
    enlarge(small_disk)
    trainer = padded()
    run(make_loop(path, trainer, **SCHEDULE))
    assert story(path) == expected
    assert len(trainer.trainings) < 12  # What was on the disk was not trained again.


@pytest.mark.parametrize("room", [0, 100, 3000, 5000, 9000])
def test_a_journal_that_fills_the_disk_is_cut_off_and_goes_on(small_disk, expected, room):
    path = small_disk / "run"

    class Filling(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            if cycle == 1:
                with contextlib.suppress(OSError), open(small_disk / "others", "wb") as file:
                    while True:
                        file.write(b"0" * max(1, (free_bytes(small_disk) - room) // 2))
                        file.flush()

    with pytest.raises(StorageError, match="No space left"):
        run(make_loop(path, callbacks=[Filling()], **SCHEDULE))
    check_whole(path)
    (small_disk / "others").unlink()
    run(make_loop(path, **SCHEDULE))
    check_whole(path)


@pytest.mark.parametrize("limit", [4_000, 5_000, 6_000, 8_000])
def test_a_file_that_may_not_grow_on_leaves_a_run_that_goes_on(tmp_path, limit):
    run(make_loop(tmp_path / "whole", **SCHEDULE))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match=r"journal\.jsonl.*File too large"):
            run(make_loop(tmp_path / "run", **SCHEDULE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < (tmp_path / "run/journal.jsonl").stat().st_size <= limit
    run(make_loop(tmp_path / "run", **SCHEDULE))
    assert story(tmp_path / "run") == story(tmp_path / "whole")


def test_a_folder_that_vanishes_is_named(tmp_path):
    class Vanishing(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            (tmp_path / "run").rename(tmp_path / "moved")

    with pytest.raises(StorageError, match="run/.*No such file"):
        run(make_loop(tmp_path / "run", callbacks=[Vanishing()], **SCHEDULE))
    assert not (tmp_path / "run").exists()
    run(make_loop(tmp_path / "run", **SCHEDULE))


@contextlib.contextmanager
def as_nobody():
    """Give up root's right to write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def common():
    """A folder that everybody may reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_folder_that_may_not_be_written_is_named(common):
    common.chmod(0o555)
    with as_nobody(), pytest.raises(StorageError, match="run'.*Permission denied"):
        make_loop(common / "run")
    common.chmod(0o777)
    with as_nobody():
        make_loop(common / "run")


def test_a_folder_that_becomes_unwritable_leaves_a_run_that_goes_on(common, expected):
    places = [common / "run" / part for part in ("", "model", "population")]

    class Closing(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            for place in places:
                place.chmod(0o500)

    with as_nobody():
        with pytest.raises(StorageError, match="Permission denied"):
            run(make_loop(common / "run", padded(), callbacks=[Closing()], **SCHEDULE))
        for place in places:
            place.chmod(0o700)
        run(make_loop(common / "run", padded(), **SCHEDULE))
    assert story(common / "run") == expected


def test_a_folder_on_a_read_only_disk_is_named(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageError, match=r"run'.*Read-only file system"):
        make_loop(small_disk / "run")


def test_room_is_asked_for_before_the_start(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.check_space(1000, 10)
    with pytest.raises(StorageError, match=r"about [\d,.]+ MB for 7 archives.*run' with .* free"):
        folder.check_space(free_bytes(tmp_path) + 10**9, 7)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(small_disk):
    write_whole(small_disk / "a.zip", b"first" * 1000)
    with pytest.raises(StorageError, match=r"a\.zip.*No space left.*3\.0 MB needed, 1\.\d MB free"):
        write_whole(small_disk / "a.zip", b"0" * 3_000_000)
    assert (small_disk / "a.zip").read_bytes() == b"first" * 1000
    assert [file.name for file in small_disk.iterdir()] == ["a.zip"]
