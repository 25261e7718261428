"""What is at work: counted, told while it is, and no part of the run."""

from __future__ import annotations

import json

import pytest
from fakes import GENOME, make_loop, make_record, run

from miha.records import UNCHANGED, Change, Epoch, Schedule, Task
from miha.report import pace as module
from miha.report.live import Live, read_live
from miha.report.pace import Pace, clock
from miha.storage.folder import RUNNING, RunFolder

SCHEDULE = Schedule(m=2, n=2, k=1, c=1, pop_size=2)
EPOCH = Epoch({"loss": 1.0, "val_loss": 0.5}, 0.1)


def task(clone=0, change=UNCHANGED):
    return Task("clone", 1, clone, 2, GENOME, change, f"population/1_{clone}_model.zip")


def test_what_runs_is_told_and_gone_when_it_ends(tmp_path):
    live = Live("val_loss", "min")
    seen = []

    class Loud(Live):
        def on_training_begin(self, task):
            seen.append(read_live(tmp_path))

    loop = make_loop(tmp_path, callbacks=[live, Loud("val_loss", "min")], c=1)
    live.on_run_begin(loop.schedule, str(tmp_path))
    run(loop)
    live.close()
    assert [told["work"][0].split(",")[0] for told in seen] == [
        *("initial training", "cycle 1", "cycle 1", "cycle 1", "cycle 1", "final training")
    ]
    assert [told["done"] for told in seen] == [0, 2, 4, 6, 8, 9]
    assert not (tmp_path / RUNNING).exists() and read_live(tmp_path) is None


def test_a_clone_is_told_with_its_change_and_its_epoch(tmp_path):
    live = Live("val_loss", "min")
    live.on_run_begin(SCHEDULE, str(tmp_path))
    live.on_training_begin(task(1, Change("optimizer", "adam -> lion")))
    assert read_live(tmp_path)["work"] == ["cycle 1, clone 1: adam -> lion, epoch 1 of 2"]
    live._written = 0.0
    live.on_epoch_end(task(1, Change("optimizer", "adam -> lion")), EPOCH)
    assert read_live(tmp_path)["work"] == ["cycle 1, clone 1: adam -> lion, epoch 2 of 2"]
    assert read_live(tmp_path)["done"] == 1


def test_a_disk_that_refuses_what_is_at_work_ends_nothing(tmp_path):
    live = Live("val_loss", "min")
    live.on_run_begin(SCHEDULE, str(tmp_path / "gone"))
    live.on_training_begin(task())
    live.close()
    assert read_live(tmp_path / "gone") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"work": 3}', "[" * 100_000])
def test_a_file_that_says_nothing_is_nothing(tmp_path, text):
    (tmp_path / RUNNING).write_text(text)
    assert read_live(tmp_path) is None


def test_what_a_killed_run_has_left_is_cleared_with_its_run(tmp_path):
    (tmp_path / RUNNING).write_text(json.dumps({}))
    RunFolder(tmp_path).clear()
    assert not (tmp_path / RUNNING).exists()


def test_the_time_left_follows_from_the_epochs_of_this_process(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    pace = Pace("val_loss", "min")
    pace.on_run_begin(SCHEDULE, "run")
    pace.on_resume([make_record("initial", None, None, (0.5, 0.4), seconds=7.0)])
    assert (pace.done, pace.elapsed, pace.left, pace.best) == (2, 7.0, None, 0.4)
    pace.on_training_begin(task())
    now[0] += 30  # Compiling.
    pace.on_epoch_end(task(), EPOCH)
    assert pace.left is None
    now[0] += 2
    pace.on_epoch_end(task(), EPOCH)
    # Nine epochs, of which four are done, at two seconds each.
    assert (pace.done, pace.left, pace.elapsed) == (4, 10.0, 39.0)
    now[0] += 1
    assert pace.left == 9.0


def test_epochs_of_an_earlier_process_are_counted_and_tell_nothing_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    pace = Pace("val_loss", "min")
    pace.on_run_begin(Schedule(m=10, n=1, k=1, c=0, pop_size=1), "")
    task = Task("initial", None, None, 10, GENOME, UNCHANGED, "model/model_init.zip")
    pace.on_training_begin(task)
    pace.on_training_resume(task, [Epoch({}, 3.0)] * 6)
    assert (pace.done, pace.elapsed, pace.left) == (6, 18.0, None)
    assert pace.work[0].epoch == "epoch 7 of 10"
    for _ in range(2):
        now[0] += 1.0
        pace.on_epoch_end(task, Epoch({}, 1.0))
    # Two of 20 epochs at a second each.
    assert (pace.done, pace.left) == (8, 12.0)


def test_a_time_is_what_a_clock_shows():
    assert [clock(t) for t in (None, 0, 59.6, 61, 3600 + 62)] == [
        *("-:--", "0:00", "1:00", "1:01", "1:01:02")
    ]
