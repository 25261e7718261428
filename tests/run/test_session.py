"""A session: one run in its folder, begun, gone on with, and finished."""

from __future__ import annotations

import pytest
from fakes import FakeTrainer, FakeWorkers, make_session

from miha.callbacks import Callback
from miha.errors import (
    ArgumentError,
    MihaError,
    MihaWarning,
    RunExistsError,
    RunStopped,
    StorageError,
)
from miha.executors import trial
from miha.executors.worker import signature
from miha.results.reader import load_run
from miha.run.ways import Request
from miha.search import best
from miha.storage.folder import FINAL, START, RunFolder
from miha.storage.lock import is_locked, locked


class Watching(Callback):
    """Notes what it is told of a whole run."""

    def __init__(self, stops_after=None):
        self.calls, self.records, self.result = [], [], None
        self.stops_after = stops_after

    def on_run_begin(self, schedule, run_dir):
        self.calls.append("begin")

    def on_resume(self, trainings):
        self.calls.append("resume")
        self.records = list(trainings)

    def on_training_end(self, network):
        if network.record.archive == self.stops_after:
            raise RunStopped("enough of this")

    def on_run_end(self, result):
        self.calls.append("end")
        self.result = result

    def close(self):
        self.calls.append("close")


def archives(path):
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*.zip"))


def test_a_run_is_written_and_returned(tmp_path):
    watching = Watching()
    trainer = FakeTrainer()
    result = make_session(tmp_path / "run", trainer, [watching]).run()
    assert result is watching.result
    assert (result.state, result.stopped) == ("finished", None)
    assert watching.calls == ["begin", "end", "close"]
    assert trainer.epochs == len(result.history) == 18
    assert result.model == trainer.load((tmp_path / "run" / FINAL).read_bytes())
    assert result.best_value == result.log.best("min").value
    assert START in archives(tmp_path / "run")
    log = (tmp_path / "run/run.log").read_text()
    assert "MIHA trains 18 epochs: 2 x m=2, and c=2 cycles" in log
    assert "Seed 0. a test. Starts with sgd at 0.005" in log
    assert "Clones train one after another. Compiled by: eager." in log
    assert "Ends with " in log
    assert not is_locked(tmp_path / "run")


def test_a_run_that_a_callback_stops_is_interrupted_and_goes_on(tmp_path):
    first = Watching(stops_after="population/1_2_model.zip")
    with pytest.warns(MihaWarning, match="enough of this"):
        result = make_session(tmp_path / "run", callbacks=[first]).run()
    assert (result.state, first.calls) == ("interrupted", ["begin", "end", "close"])
    # Nothing of it stays in the folder: the run is not at its end.
    assert result.stopped == "enough of this"
    assert load_run(tmp_path / "run").stopped is None
    assert result.log.last.archive == "model/model_init.zip"

    second, trainer = Watching(), FakeTrainer()
    result = make_session(tmp_path / "run", trainer, [second]).run()
    assert (result.state, second.calls) == ("finished", ["begin", "resume", "end", "close"])
    assert second.records == result.log.trainings[:4]
    assert len(trainer.trainings) == 10 - 4
    expected = make_session(tmp_path / "whole").run()
    seconds = {"columns": "seconds"}
    assert result.history.drop(**seconds).equals(expected.history.drop(**seconds))
    text = f"Goes on: 4 of 10 trainings are on the disk, in {str(tmp_path / 'run')!r}."
    assert text in (tmp_path / "run/run.log").read_text()


def test_a_finished_run_returns_its_result_and_trains_nothing(tmp_path):
    expected = make_session(tmp_path / "run").run()
    watching, trainer = Watching(), FakeTrainer()
    result = make_session(tmp_path / "run", trainer, [watching]).run()
    assert trainer.trainings == []
    assert watching.calls == ["begin", "resume", "end", "close"]
    assert (result.genome, result.model) == (expected.genome, expected.model)
    assert result.history.equals(expected.history)


def test_a_finished_run_without_its_networks_is_refused(tmp_path):
    make_session(tmp_path / "run", keep="none").run()
    assert archives(tmp_path / "run") == []
    with pytest.raises(RunExistsError, match="where one is missing or damaged.*Delete that folder"):
        make_session(tmp_path / "run").run()


@pytest.mark.parametrize(("keep", "number"), [("all", 11), ("model", 5), ("final", 2), ("none", 0)])
def test_what_is_kept_of_the_archives(tmp_path, monkeypatch, keep, number):
    monkeypatch.setattr(best, "NOISES", 0.0)
    # The best network is a clone.
    trainer = FakeTrainer(script={2: {"val_loss": 0.0}})
    result = make_session(tmp_path, trainer, keep=keep, restore_best=False).run()
    found = archives(tmp_path)
    assert len(found) == number + (keep == "model")
    assert result.best_model["genome"] == result.best_genome.to_dict()
    if keep != "none":
        assert {FINAL, "population/1_1_model.zip"} <= {*found}


def test_callbacks_are_closed_however_the_run_ends(tmp_path):
    class Raising(Watching):
        def on_training_end(self, network):
            raise KeyboardInterrupt

    callbacks = [Watching(), Raising(), Watching()]
    with pytest.raises(KeyboardInterrupt, match="1 of 10 trainings are on the disk"):
        make_session(tmp_path / "run", callbacks=callbacks).run()
    assert [callback.calls for callback in callbacks] == [["begin", "close"]] * 3
    assert not is_locked(tmp_path / "run")


def test_a_folder_is_named_by_the_time_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = [make_session(None, c=0).run() for _ in range(2)]
    folders = [result.run_dir for result in results]
    assert {folder.parent for folder in folders} == {tmp_path / "logs"}
    assert len({*folders}) == 2  # Of one second, too.


def test_another_run_in_the_folder_is_refused_or_replaced(tmp_path):
    make_session(tmp_path).run()
    with pytest.raises(RunExistsError, match="seed is 0 and not 1"):
        make_session(tmp_path, seed=1).run()
    assert make_session(tmp_path, seed=1, overwrite=True).run().state == "finished"


def test_only_one_process_works_in_a_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    with locked(folder.path), pytest.raises(Exception, match="Only one process may work"):
        make_session(folder.path).run()


class Workers:
    """An executor whose workers are in this process.

    Args:
        fails: Whether there is no place for them.
    """

    load_data = None

    def __init__(self, fails=False):
        self.fails = fails
        self.jobs, self.pools = [], []

    def start(self, job):
        if self.fails:
            raise ArgumentError("no place for workers")
        self.jobs.append(job)
        self.pools.append(FakeWorkers(2, job))
        return self.pools[-1]


def test_clones_train_on_the_workers_of_an_executor(tmp_path):
    executor = Workers()
    trainer = FakeTrainer()
    result = make_session(tmp_path / "run", trainer, executor=executor).run()
    assert len(trainer.trainings) == 4  # The network's own.
    [pool], [job] = executor.pools, executor.jobs
    assert len(pool.begun) == 6
    assert pool.free == 0  # They were ended.
    assert (job.seed, job.pop_size, job.device) == (0, 3, "a test")
    assert job.environment == {"KERAS_BACKEND": "numpy"}
    expected = make_session(tmp_path / "whole").run()
    assert result.log.winners == expected.log.winners
    assert result.genome == expected.genome


def test_workers_on_trial_are_told_of_the_network_that_the_run_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeTrainer, "device", "a test on CPU")
    monkeypatch.setattr(trial, "expected_seconds", lambda records: lambda task: 100.0)
    executor, request = Workers(), Request(tries_workers=True)
    run = {"executor": executor, "request": request, "m": 0, "c": 4}
    result = make_session(tmp_path / "run", **run).run()
    [pool], [job] = executor.pools, executor.jobs
    assert {task.cycle for task in pool.begun} == {3, 4}
    assert job.signature == signature(FakeTrainer())
    assert result.lineage.equals(make_session(tmp_path / "whole", m=0, c=4).run().lineage)


def test_a_finished_run_starts_no_workers(tmp_path):
    make_session(tmp_path).run()
    executor = Workers()
    make_session(tmp_path, executor=executor).run()
    assert executor.jobs == []


def test_where_there_is_no_place_for_workers_nothing_is_written(tmp_path):
    with pytest.raises(ArgumentError, match="no place for workers"):
        make_session(tmp_path / "run", executor=Workers(fails=True)).run()
    RunFolder(tmp_path / "run").check_free()
    assert not RunFolder(tmp_path / "run").has_run


def test_a_disk_without_space_for_the_run_is_refused_before_it_begins(tmp_path, monkeypatch):
    trainer = FakeTrainer(padding=1000)
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 9000)
    with pytest.raises(StorageError, match="The disk must have room for the run.* for 10 archives"):
        make_session(tmp_path / "run", trainer).run()
    assert trainer.trainings == []
    assert not RunFolder(tmp_path / "run").has_run


def test_a_run_that_a_budget_may_end_needs_space_for_its_ends_only(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 9000)
    with pytest.warns(MihaWarning, match="The run may need less, but: .* for 10 archives"):
        make_session(tmp_path / "run", FakeTrainer(padding=1000), patience=9).run()
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 1500)
    with pytest.raises(StorageError, match="for 2 archives"):
        make_session(tmp_path / "other", FakeTrainer(padding=1000), patience=9).run()


class Failing(Callback):
    """Ends a run as a mistake does: before its first training has finished."""

    def on_run_begin(self, schedule, run_dir):
        raise RuntimeError("a mistake")


def begin_and_fail(path):
    with pytest.raises(MihaError, match="a mistake"):
        make_session(path, callbacks=[Failing()]).run()
    assert RunFolder(path).has_run


def test_a_folder_whose_run_finished_no_training_takes_another_run(tmp_path):
    begin_and_fail(tmp_path / "run")
    begin_and_fail(tmp_path / "copy")
    corrected = make_session(tmp_path / "run", m=3)
    corrected.check()
    corrected.run()
    assert RunFolder(tmp_path / "run").description()["arguments"]["schedule"]["m"] == 3
    # With its journal lost but a cycle's archives left, a folder is still its run's.
    (tmp_path / "copy/population/1_0_model.zip").write_bytes(b"")
    with pytest.raises(RunExistsError, match="Choose another folder"):
        make_session(tmp_path / "copy", m=3).check()
