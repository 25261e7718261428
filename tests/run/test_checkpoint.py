"""A run that is killed in a long training goes on from the last checkpoint, bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_record, make_session
from faults import Crash
from stories import story

from miha.callbacks import Callback
from miha.errors import MihaWarning, StorageError
from miha.options import Execution
from miha.records import Epoch, Progress, Snapshot
from miha.run.resume import choose_seed
from miha.run.trainings import make_task
from miha.run.ways import Request
from miha.storage import checkpoint
from miha.storage.checkpoint import Checkpoints
from miha.storage.folder import CHECKPOINT, RunFolder

LONG = {"m": 9, "n": 4, "k": 5, "c": 1, "anneal": True}
ALWAYS = Request(checkpoint_seconds=0)
KILLED = {"initial": 4, "clone": 3, "winner": 4, "final": 7}
"""The epoch in which a training is killed, by its phase."""


class Killing(Callback):
    """Kills the run in an epoch of a phase, as a machine does, and notes what it is told."""

    def __init__(self, phase=None):
        self.phase, self.epochs, self.resumed = phase, 0, []

    def on_training_begin(self, task):
        self.epochs = 0

    def on_training_resume(self, task, epochs):
        self.epochs = len(epochs)
        self.resumed.append((task.archive, self.epochs))

    def on_epoch_end(self, task, epoch):
        self.epochs += 1
        if task.phase == self.phase and self.epochs == KILLED[task.phase]:
            raise Crash


def session(path, trainer=None, callbacks=(), request=ALWAYS, **changes):
    return make_session(path, trainer, callbacks, request=request, **(LONG | changes))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The story of a run that was never interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    session(path, request=Request()).run()
    return story(path)


@pytest.fixture
def killed(tmp_path):
    """The folder of a run that was killed in its first training."""
    with pytest.raises(Crash):
        session(tmp_path / "run", callbacks=[Killing("initial")]).run()
    return tmp_path / "run"


@pytest.mark.parametrize("phase", KILLED)
def test_a_training_that_is_killed_goes_on_from_its_last_epoch(tmp_path, expected, phase):
    path = tmp_path / "run"
    with pytest.raises(Crash):
        session(path, callbacks=[Killing(phase)]).run()
    assert (path / CHECKPOINT).exists()
    trainer, watching = FakeTrainer(), Killing()
    session(path, trainer, [watching]).run()
    [(_, done)] = watching.resumed
    # The epoch in which it was killed is not noted yet.
    assert done == KILLED[phase] - 1
    assert (
        len(trainer.trainings[0].orders)
        == {"initial": 9, "clone": 4}.get(phase, LONG["k"] if phase == "winner" else LONG["m"])
        - done
    )
    assert not (path / CHECKPOINT).exists()
    assert f"after epoch {done} of" in (path / "run.log").read_text()
    assert story(path) == expected


def test_a_run_that_is_never_killed_leaves_no_checkpoint(tmp_path, expected):
    session(tmp_path / "run").run()
    assert not (tmp_path / "run" / CHECKPOINT).exists()
    assert story(tmp_path / "run") == expected


@pytest.mark.parametrize("spoil", [
    lambda data: data[:-3],
    lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    lambda data: b"",
    lambda data: data.replace(b"checkpoint 1", b"checkpoint 2"),
])  # fmt: skip
def test_a_damaged_checkpoint_is_ignored(killed, expected, spoil):
    file = killed / CHECKPOINT
    file.write_bytes(spoil(file.read_bytes()))
    trainer, watching = FakeTrainer(), Killing()
    session(killed, trainer, [watching]).run()
    assert (watching.resumed, len(trainer.trainings[0].orders)) == ([], 9)
    assert story(killed) == expected


def test_a_corrected_script_begins_in_the_folder_of_a_first_training(killed, tmp_path):
    watching = Killing()
    session(killed, callbacks=[watching], k=4).run()
    session(tmp_path / "other", k=4).run()
    assert watching.resumed == []
    assert story(killed) == story(tmp_path / "other")


def test_a_first_training_goes_on_with_the_seed_that_was_drawn(killed, tmp_path):
    assert choose_seed(None, RunFolder(killed), overwrite=False) == 0
    (killed / CHECKPOINT).unlink()
    assert choose_seed(None, RunFolder(killed), overwrite=False) != 0


class Slow(FakeTrainer):
    """A trainer that says of each epoch that it took 100 seconds."""

    def _epoch(self, order, training):
        return dataclasses.replace(super()._epoch(order, training), seconds=100.0)


def test_the_seconds_of_a_training_are_those_of_all_processes(tmp_path):
    with pytest.raises(Crash):
        session(tmp_path, Slow(), [Killing("initial")]).run()
    result = session(tmp_path).run()
    assert 300 < result.log.trainings[0].seconds < 301


# The file.


ARRAYS = (np.arange(6, dtype="float32").reshape(2, 3), np.array(7), np.zeros((0, 2), "uint8"))
TASK = make_task(make_session(None)._plan, "winner", GENOME, 1)
PARENT = make_record()
PROGRESS = Progress(
    snapshot=Snapshot(ARRAYS, "adam", ARRAYS[:1]),
    epochs=(Epoch({"loss": 0.1, "val_auc": float("nan")}, 0.5),),
    order={"state": {"state": 2**127 + 1}, "spawned": 2},
    noise=(np.arange(3, dtype="uint8"),),
)


def noted(path, seconds=0.0):
    file = Checkpoints(path, seconds)
    assert file.begin(TASK, PARENT) is None
    file.offer(TASK, lambda: PROGRESS)
    return file


def test_what_is_read_is_what_was_written(tmp_path):
    noted(tmp_path)
    found = Checkpoints(tmp_path, 0).begin(TASK, PARENT)
    assert repr((found.epochs, found.order)) == repr((PROGRESS.epochs, PROGRESS.order))
    assert found.snapshot.optimizer == "adam"
    ours = (*found.snapshot.variables, *found.snapshot.slots, *found.noise)
    theirs = (*ARRAYS, ARRAYS[0], *PROGRESS.noise)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert a.flags.writeable


@pytest.mark.parametrize("changes", [
    {"epochs": 4}, {"genome": GENOME.replace(batch_size=8)}, {"rates": (1.0, 0.5)},
])  # fmt: skip
def test_a_checkpoint_of_another_task_is_ignored(tmp_path, changes):
    noted(tmp_path)
    other = dataclasses.replace(TASK, **changes)
    assert Checkpoints(tmp_path, 0).begin(other, PARENT) is None
    assert Checkpoints(tmp_path, 0).begin(TASK, PARENT.replace(value=0.1)) is None


def test_it_is_written_when_its_seconds_have_passed_and_takes_a_hundredth(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(path, data):
        written.append(now[0])
        now[0] += 2.0

    written = []
    monkeypatch.setattr(checkpoint, "write_whole", write)
    file = Checkpoints(tmp_path, 60)
    file.begin(TASK, PARENT)
    for _ in range(50):
        now[0] += 10.0
        file.offer(TASK, lambda: PROGRESS)
    # Two seconds each: from then on, every 200 seconds.
    assert written[:2] == [60.0, 262.0]
    assert len(written) * 2.0 <= 0.02 * now[0]


def test_only_the_training_that_is_noted_is_forgotten(tmp_path):
    file = noted(tmp_path)
    file.forget("model/model_9.zip")
    file.forget(None)
    assert (tmp_path / CHECKPOINT).exists()
    file.forget(TASK.archive)
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_full_disk_ends_no_run(tmp_path, monkeypatch):
    def refuse(path, data):
        raise StorageError("the disk is full")

    monkeypatch.setattr(checkpoint, "write_whole", refuse)
    file = Checkpoints(tmp_path, 0)
    file.begin(TASK, PARENT)
    with pytest.warns(MihaWarning, match="begin anew where they stop: the disk is full"):
        file.offer(TASK, lambda: PROGRESS)
    file.offer(TASK, lambda: PROGRESS)  # It is not tried again, and not said again.


def test_seconds_are_checked():
    assert Execution(checkpoint_seconds=0).checkpoint_seconds == 0.0
    assert Execution(checkpoint_seconds=None).checkpoint_seconds is None
    with pytest.raises(ValueError, match="`checkpoint_seconds` must be finite and not negative"):
        Execution(checkpoint_seconds=-1)
