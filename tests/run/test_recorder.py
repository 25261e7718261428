"""The recorder: what it writes, what it recalls, and whose values stay in memory."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_network, make_plan

from miha.archive.archive import describe
from miha.errors import ArchiveError, JournalError
from miha.records import Snapshot, TrainingRecord
from miha.run.recorder import Recorder
from miha.run.trainings import first_task, make_task
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

PLAN = make_plan()
WHY = {0: "behind clone 1 by 0.1", 1: "fittest by 0.1"}


def snapshot(weight):
    variables = (np.array([weight]), np.array([0]))
    return Snapshot(variables, "sgd", (np.array(0.005), np.array([0.0])))


def network(phase="initial", cycle=None, clone=None, weight=1.0, **changes):
    made = make_network(phase=phase, cycle=cycle, clone=clone, **changes)
    return type(made)(made.record, snapshot(weight))


INITIAL = network(fitness=None)
CLONES = [network("clone", 1, number, 2.0 + number, fitness=0.5) for number in (0, 1)]


def make_recorder(path):
    """Return a recorder of what its folder says."""
    folder = RunFolder(path)
    folder.create()
    folder.write_description({"format": 2})
    journal = Journal(path / "journal.jsonl")
    return Recorder(folder, journal, Logbook.of(journal.open()), FakeTrainer())


@pytest.fixture
def first(tmp_path):
    """The recorder of a process that has recorded a first training and two clones."""
    recorder = make_recorder(tmp_path)
    with recorder.writing():
        for done in (INITIAL, *CLONES):
            recorder.record(done)
        recorder.select(1, CLONES[1].record, WHY)
    return recorder


def entries(recorder):
    return Journal(recorder.folder.path / "journal.jsonl").read()


def recall_all(recorder):
    for record in recorder.past.trainings:
        recorder.recall(make_task(PLAN, record.phase, GENOME, record.cycle, record.clone))


def test_what_is_recorded_is_in_the_log_the_journal_and_an_archive(first):
    assert first.log.trainings == [done.record for done in (INITIAL, *CLONES)]
    assert first.written == 3
    events = [entry["event"] for entry in entries(first)]
    assert events == ["training", "training", "training", "selection"]
    for record in first.log.trainings:
        assert TrainingRecord.from_json(describe(first.folder.path / record.archive)) == record
    assert (first.folder.path / "lineage.csv").exists()


def test_a_second_process_recalls_what_is_recorded(first, tmp_path):
    second = make_recorder(tmp_path)
    assert (second.written, second.log.trainings) == (3, [])
    tasks = [first_task(PLAN, GENOME), make_task(PLAN, "clone", GENOME, 1, 0)]
    assert [second.recall(task) for task in tasks] == first.log.trainings[:2]
    assert second.log.trainings == first.log.trainings[:2]


def test_what_is_not_recorded_yet_is_not_recalled(first, tmp_path):
    second = make_recorder(tmp_path)
    for number in (None, 0, 1):
        phase = "initial" if number is None else "clone"
        second.recall(make_task(PLAN, phase, GENOME, None if number is None else 1, number))
    assert second.recall(make_task(PLAN, "winner", GENOME, 1)) is None
    assert len(second.log.trainings) == 3


def test_another_training_in_the_journal_is_refused(first, tmp_path):
    second = make_recorder(tmp_path)
    with pytest.raises(JournalError, match="training 1 with"):
        second.recall(first_task(PLAN, GENOME.replace(batch_size=9)))


def test_the_values_of_a_recalled_network_are_read_from_its_archive(first, tmp_path):
    second = make_recorder(tmp_path)
    assert second.values(CLONES[1].record).variables[0] == [3.0]
    (tmp_path / CLONES[1].record.archive).unlink()
    assert second.values(CLONES[1].record).variables[0] == [3.0]  # They are in memory now.
    with pytest.raises(ArchiveError, match="1_1_model"):
        make_recorder(tmp_path).values(CLONES[1].record)


def test_the_values_of_all_but_some_are_freed(first):
    for done in (INITIAL, *CLONES):
        assert first.values(done.record) is done.snapshot
    first.keep_values([INITIAL.record, CLONES[0].record])
    assert first.values(CLONES[0].record) is CLONES[0].snapshot
    # Those of the other one are read again.
    assert first.values(CLONES[1].record) is not CLONES[1].snapshot
    assert first.values(CLONES[1].record).variables[0] == CLONES[1].snapshot.variables[0]


def test_the_values_that_a_run_begins_with_need_no_archive(tmp_path):
    recorder = make_recorder(tmp_path)
    values = snapshot(7.0)
    recorder.start_with("model/model_start.zip", values)
    start = INITIAL.record.replace(archive="model/model_start.zip")
    assert recorder.values(start) is values


def test_a_failed_clone_leaves_no_archive(tmp_path):
    recorder = make_recorder(tmp_path)
    failed = network("clone", 1, 0).record.replace(archive=None, failure="no memory")
    with recorder.writing():
        recorder.record(type(INITIAL)(failed, None))
    assert not list(tmp_path.rglob("*.zip"))
    assert TrainingRecord.from_json(entries(recorder)[0]) == failed


def test_a_decision_and_a_stop_are_journalled_once(first, tmp_path):
    before = entries(first)
    for is_new in (True, False):
        recorder = make_recorder(tmp_path)
        recall_all(recorder)
        with recorder.writing():
            assert not recorder.select(1, CLONES[1].record, WHY)
            assert recorder.select(2, None, {0: "failed"}) is is_new
            assert recorder.rest(3, "why") is is_new
            assert recorder.go_back(3, INITIAL.record, "worse") is is_new
            recorder.stop("enough")
        assert (recorder.log.winners, recorder.log.stopped) == ({1: 1, 2: None}, "enough")
    assert entries(first) == [
        *before,
        {"event": "selection", "cycle": 2, "clone": None, "reasons": {"0": "failed"}},
        {"event": "rest", "cycle": 3, "reason": "why"},
        {"event": "return", "cycle": 3, "to": INITIAL.record.archive, "reason": "worse"},
        {"event": "stop", "reason": "enough"},
    ]


def test_what_was_decided_before_without_a_reason_stays_so(first, tmp_path):
    second = make_recorder(tmp_path)
    with second.writing():
        assert not second.rest(1, "why")
        assert not second.go_back(1, INITIAL.record, "worse")
    assert entries(second) == entries(first)
    assert (second.log.rests, second.log.returns) == ({}, {})


def test_the_reasons_that_are_journalled_stay(first, tmp_path):
    second = make_recorder(tmp_path)
    with second.writing():
        second.select(1, CLONES[1].record, {0: "another phrase", 1: "of a later version"})
    assert second.log.reasons == first.log.reasons == {1: WHY}


def test_a_restored_network_is_archived_in_place_of_the_last_one(first, tmp_path):
    last = network("final", weight=9.0).record.replace(restored=CLONES[0].record.archive)
    second = make_recorder(tmp_path)
    with second.writing():
        second.record(type(INITIAL)(last, snapshot(9.0)))
    path = first.folder.path
    assert (path / last.archive).read_bytes() == (path / CLONES[0].record.archive).read_bytes()


def test_the_end_writes_the_tables_and_a_line(first):
    (first.folder.path / "history.csv").unlink()
    first.end()
    assert entries(first)[-1] == {"event": "end"}
    assert first.log.is_finished
    assert len((first.folder.path / "history.csv").read_text().splitlines()) == 1 + 6
