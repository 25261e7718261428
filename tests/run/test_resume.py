"""Resume: a run that is killed at any moment ends as one that was never interrupted."""

from __future__ import annotations

import random
import shutil
import warnings

import numpy as np
import pytest
from fakes import FakeTrainer, make_loop, run
from faults import Crash, Disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stories import story

from miha.callbacks import Callback
from miha.errors import JournalError, MihaError, MihaWarning, StorageError
from miha.mutations import BatchSizeMutation, Mutation
from miha.results.reader import load_run
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal

SCHEDULE = {"m": 2, "n": 2, "k": 1, "c": 3, "pop_size": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(make_loop(path, **SCHEDULE))
    return path


@pytest.fixture(scope="module")
def expected(whole):
    return story(whole)


def operations(path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        run(make_loop(path, **SCHEDULE))
        return len(disk.operations)


FAULTS = pytest.mark.parametrize(
    ("kind", "share"), [("crash", 0.0), ("crash", 0.5), ("crash", 1.0), ("full", 0.5)]
)


def check_faults(path, expected, kind, share, places):
    """Check that a fault at some operations of the disk loses nothing."""
    for at in places:
        folder = path / f"{at}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, kind, share)
            with pytest.raises((Crash, StorageError)):
                run(make_loop(folder, **SCHEDULE))
        assert len(disk.operations) > at
        run(make_loop(folder, **SCHEDULE))
        assert story(folder) == expected, f"{kind} at operation {at}: {disk.operations[at]}"
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    """How many operations of the disk a run has."""
    count = operations(tmp_path_factory.mktemp("count") / "run")
    assert count > 150  # Every write, fsync and rename of 14 archives, 18 lines, 8 tables.
    return count


@FAULTS
def test_a_fault_at_an_operation_of_the_disk_loses_nothing(tmp_path, expected, count, kind, share):
    """The operations of the first training and cycle are those of all: some of them, and others."""
    offset = int(2 * share)
    places = [*range(offset, 60, 8), *range(60 + offset, count, 32), count - 1]
    check_faults(tmp_path, expected, kind, share, places)


@pytest.mark.slow
@FAULTS
def test_a_fault_at_every_operation_of_the_disk_loses_nothing(
    tmp_path, expected, count, kind, share
):
    check_faults(tmp_path, expected, kind, share, range(count))


def die_again_and_again(path, expected, runs):
    """Check that runs which die at random operations lose nothing; return how often they did."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng, deaths = random.Random(seed), 0
    for number in range(runs):
        folder = path / f"{number}"
        for _ in range(1000):
            with pytest.MonkeyPatch.context() as patch:
                Disk(patch, rng.randrange(40), share=rng.random())
                try:
                    run(make_loop(folder, **SCHEDULE))
                    break
                except Crash:
                    deaths += 1
        assert story(folder) == expected
    return deaths


def test_a_run_that_dies_again_and_again_loses_nothing(tmp_path, expected):
    assert die_again_and_again(tmp_path, expected, 3) > 5


@pytest.mark.slow
def test_twenty_runs_that_die_again_and_again_lose_nothing(tmp_path, expected):
    assert die_again_and_again(tmp_path, expected, 20) > 40


def test_what_is_done_is_not_done_again(tmp_path):
    class Impatient(Callback):
        def on_training_end(self, network):
            if network.record.archive == "population/2_1_model.zip":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_loop(tmp_path, callbacks=[Impatient()], **SCHEDULE))
    trainer = FakeTrainer()
    loop = make_loop(tmp_path, trainer, **SCHEDULE)
    assert len(loop.recorder.past.trainings) == 1 + 4 + 2
    run(loop)
    assert len(trainer.trainings) == loop.schedule.trainings - 7


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1))
def test_any_prefix_of_a_journal_resumes_to_the_same_end(tmp_path, whole, expected, share):
    path = tmp_path / "run"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    data = (path / "journal.jsonl").read_bytes()
    (path / "journal.jsonl").write_bytes(data[: int(share * len(data))])
    run(make_loop(path, **SCHEDULE))
    assert story(path) == expected


def test_the_prefix_of_every_length_of_lines_resumes(tmp_path, whole, expected):
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        path = tmp_path / f"{count}"
        shutil.copytree(whole, path)
        (path / "journal.jsonl").write_bytes(b"".join(lines[:count]) + lines[count][:-1])
        run(make_loop(path, **SCHEDULE))
        assert story(path) == expected


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_changed_byte_resumes_to_the_same_end_or_is_refused(
    tmp_path, whole, expected, share, mask
):
    path = tmp_path / "run"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    data = bytearray((path / "journal.jsonl").read_bytes())
    data[int(share * len(data))] ^= mask
    (path / "journal.jsonl").write_bytes(bytes(data))
    try:
        loop = make_loop(path, **SCHEDULE)
    except JournalError as error:
        assert "line" in str(error)
    else:
        run(loop)
        assert story(path) == expected


@pytest.mark.parametrize("count", range(1, 18))
def test_a_damaged_archive_that_is_needed_is_made_again(tmp_path, whole, expected, count):
    path = shutil.copytree(whole, tmp_path / "run")
    entries = Journal(path / "journal.jsonl").cut(count)
    archives = [entry["archive"] for entry in entries if entry["event"] == "training"]
    [last] = [a for a in archives if a.startswith("model/")][-1:]
    archive = path / last
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.warns(MihaWarning, match=f"{last}.*missing or damaged"):
        run(make_loop(path, **SCHEDULE))
    assert story(path) == expected


def test_all_archives_gone_the_run_begins_again(tmp_path, whole, expected):
    path = shutil.copytree(whole, tmp_path / "run")
    Journal(path / "journal.jsonl").cut(12)
    for archive in path.glob("*/*.zip"):
        archive.unlink()
    with pytest.warns(MihaWarning, match="missing or damaged"):
        run(make_loop(path, **SCHEDULE))
    # The best network's archive may be one of those that were not needed to go on.
    assert load_run(path).state == "finished"


def test_half_written_files_are_swept_away(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    for name in ("run.json.part", "model/model_2.zip.part", "population/1_0_model.zip.part"):
        (path / name).write_bytes(b"half")
    make_loop(path, **SCHEDULE)
    assert not list(path.rglob("*.part"))


def test_a_mutation_that_draws_elsewhere_is_noticed(tmp_path):
    class Loose(Mutation):
        gene = "batch_size"
        sizes = iter(range(1, 1000))

        def mutate(self, genome, space, rng):
            return genome.replace(batch_size=5 + next(self.sizes) % 11)

    schedule = {"mutations": [Loose()], "c": 2, "pop_size": 4}
    run(make_loop(tmp_path, **schedule))
    Journal(tmp_path / "journal.jsonl").cut(6)
    with pytest.raises(JournalError, match=r"training 3 with .*must draw from its `rng` alone"):
        run(make_loop(tmp_path, **schedule))


def test_a_recalled_failure_stays_a_failure(tmp_path):
    def fails(genome):
        return MemoryError("no room") if genome.batch_size == 8 else None

    schedule = {"c": 4, "pop_size": 4, "mutations": [BatchSizeMutation()]}
    with pytest.warns(MihaWarning, match="failed and loses: MemoryError: no room"):
        run(make_loop(tmp_path / "whole", FakeTrainer(fails=fails), **schedule))
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    Journal(tmp_path / "run/journal.jsonl").cut(12)
    assert "MemoryError: no room" in load_run(tmp_path / "run").lineage["failure"].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MihaWarning)  # Of later clones.
        run(make_loop(tmp_path / "run", FakeTrainer(fails=fails), **schedule))
    assert story(tmp_path / "run") == story(tmp_path / "whole")


def test_a_run_that_gave_up_tries_its_last_cycles_again(tmp_path):
    schedule = {"c": 5, "pop_size": 2, "mutations": [BatchSizeMutation()]}
    short_of_memory = True

    def fails(genome):
        is_clone = (len(trainer.trainings) - 1) % 3 > 0
        return MemoryError() if short_of_memory and is_clone else None

    trainer = FakeTrainer(fails=fails)
    with pytest.warns(MihaWarning), pytest.raises(MihaError, match="tries these cycles again"):
        run(make_loop(tmp_path / "run", trainer, **schedule))
    short_of_memory = False
    run(make_loop(tmp_path / "run", **schedule))
    run(make_loop(tmp_path / "whole", **schedule))
    assert story(tmp_path / "run") == story(tmp_path / "whole")


def test_callbacks_are_told_what_is_not_done_again(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    Journal(path / "journal.jsonl").cut(7)
    told = []

    class Told(Callback):
        def on_training_begin(self, task):
            told.append(task.archive)

        def on_cycle_end(self, cycle, clones, winner):
            told.append((cycle, len(clones), winner.archive))

    loop = make_loop(path, callbacks=[Told()], **SCHEDULE)
    run(loop)
    assert told[:4] == [
        "population/2_1_model.zip",
        "population/2_2_model.zip",
        (2, 3, f"population/2_{loop.log.winners[2]}_model.zip"),
        "model/model_2.zip",
    ]


def test_every_archive_of_a_resumed_run_is_that_of_one_never_interrupted(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    Journal(path / "journal.jsonl").cut(4)
    for file in path.glob("*/*.zip"):
        if file.name not in ("model_init.zip", "1_0_model.zip", "1_1_model.zip", "1_2_model.zip"):
            file.unlink()
    run(make_loop(path, **SCHEDULE))
    trainer = FakeTrainer()
    for file in sorted(whole.glob("*/*.zip")):
        ours, theirs = (
            trainer.load((p / file.relative_to(whole)).read_bytes()) for p in (path, whole)
        )
        assert ours == theirs
        np.testing.assert_array_equal(ours["weight"], theirs["weight"])


def test_a_folder_whose_run_has_not_begun_is_free(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    (tmp_path / "run/.lock").touch()
    (tmp_path / "run/run.json.part").write_bytes(b"{")
    folder.check_free()
    run(make_loop(tmp_path / "run"))
