"""`load_run`: a run can be read whatever it is doing, and nothing is changed by it."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from fakes import FakeTrainer, make_loop, run
from runs import OLD_RUNS, make_run, old_run

from miha.callbacks import Callback
from miha.errors import JournalError, MihaError
from miha.records import Genome
from miha.results.reader import RunReader, load_run, start_time
from miha.results.summary import summarize
from miha.storage.journal import Journal
from miha.storage.lock import locked


def test_a_finished_run_tells_what_its_loop_did(tmp_path):
    loop = make_loop(tmp_path)
    final = run(loop)
    result = load_run(str(tmp_path))
    assert (result.state, result.monitor, result.run_dir) == ("finished", "val_loss", tmp_path)
    pd.testing.assert_frame_equal(result.history, loop.log.history)
    pd.testing.assert_frame_equal(result.lineage, loop.log.lineage)
    assert result.genome == final.genome
    assert result.best_value == loop.best.value
    assert result.best_genome == loop.best.genome
    assert result.archives == ("model/model_final.zip", loop.best.archive)


def test_a_running_run_can_be_read_at_every_moment(tmp_path):
    seen = []

    class Reading(Callback):
        def on_epoch_end(self, task, epoch):
            result = load_run(tmp_path)
            seen.append((result.state, len(result.history), len(result.lineage)))

    loop = make_loop(tmp_path, callbacks=[Reading()])
    with locked(tmp_path):
        run(loop)
    assert {state for state, _, _ in seen} == {"running"}
    assert seen[0] == ("running", 0, 0)
    lengths = [rows for _, rows, _ in seen]
    assert lengths == sorted(lengths)
    assert lengths[-1] >= 2 + 3 * 2


def test_a_run_before_its_first_network_has_tables_but_no_network(tmp_path):
    make_loop(tmp_path)
    result = load_run(tmp_path)
    assert result.state == "interrupted"
    assert list(result.history) == ["phase", "cycle", "clone", "epoch", "seconds"]
    assert len(result.lineage) == 0
    for name in ("genome", "best_value", "model"):
        with pytest.raises(MihaError, match="first training"):
            getattr(result, name)


def test_an_interrupted_run_has_the_network_of_its_last_training(tmp_path):
    run(make_loop(tmp_path))
    Journal(tmp_path / "journal.jsonl").cut(8)  # Cycle 1, and two clones of cycle 2.
    result = load_run(tmp_path)
    assert result.state == "interrupted"
    assert result.archives[0] == "model/model_1.zip"
    assert len(result.lineage) == 5


def test_reading_changes_nothing_even_where_the_last_line_is_torn(tmp_path):
    run(make_loop(tmp_path))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "model/half.zip.part").touch()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert load_run(tmp_path).state == "interrupted"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_damage_in_the_middle_is_refused_with_the_number_of_the_line(tmp_path):
    run(make_loop(tmp_path))
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"0", b"1")
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match="line 3, "):
        load_run(tmp_path)


def test_values_that_are_not_finite_are_numbers_again(tmp_path):
    script = {2: {"loss": float("nan"), "val_loss": float("inf")}}
    run(make_loop(tmp_path, FakeTrainer(script=script)))
    result = load_run(tmp_path)
    assert result.history["loss"].dtype == result.lineage["fitness"].dtype == float
    assert result.lineage["fitness"].tolist()[1] == float("-inf")
    assert result.lineage["failure"].tolist()[1] == "diverged: val_loss is nan"


@pytest.mark.parametrize("name", ["", "nothing", "file"])
def test_a_folder_without_a_run_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("text")
    with pytest.raises(JournalError, match=r"must hold its `run\.json`"):
        load_run(tmp_path / name)


def test_a_run_of_this_format_is_read_for_ever(tmp_path):
    """A folder written by hand: what version 0.2 wrote must stay readable."""
    lines = [
        b'{"crc32": "8fb39cb6", "event": "training", "phase": "initial", "cycle": null, '
        b'"clone": null, "archive": "model/model_init.zip", "parent": "model/model_start.zip", '
        b'"change": {"gene": "none", "text": "unchanged"}, "genome": {"optimizer": "adam", '
        b'"learning_rate": 0.001, "batch_size": 32, "activations": {"dense": "relu"}}, '
        b'"first_epoch": 1, "value": 0.5, "fitness": null, "failure": null, '
        b'"epochs": [{"loss": 0.75, "val_loss": 0.5, "seconds": 0.125}]}\n'
    ]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    description = {
        "arguments": {"mode": "min", "monitor": "val_loss"},
        "format": 1,
        "sha256": "7b0f234cedcbd6f69fb64e6b9f30821b3cca2aa4c817de02b1eb910e5574508d",
    }
    (tmp_path / "run.json").write_text(json.dumps(description))
    result = load_run(tmp_path)
    assert result.genome == Genome("adam", 0.001, 32, (("dense", "relu"),))
    [row] = result.history.drop(columns=["cycle", "clone"]).to_dict("records")
    assert row == {"phase": "initial", "epoch": 1, "loss": 0.75, "val_loss": 0.5, "seconds": 0.125}


@pytest.mark.parametrize("name", ["plain", "joined"])
def test_runs_of_version_0_3_0_are_read_with_their_tables(name):
    result = old_run(name)
    assert result.state == "finished"
    for table in ("history", "lineage"):
        written = pd.read_csv(OLD_RUNS / name / f"{table}.csv")
        read = pd.read_csv(io.StringIO(getattr(result, table).to_csv(index=False)))
        shared = [column for column in written.columns if column in read]
        assert set(written.columns) - set(shared) <= {"late"}  # There are no late clones now.
        pd.testing.assert_frame_equal(read[shared], written[shared])
    assert not (OLD_RUNS / name / ".lock").exists()


def test_a_run_in_which_a_clone_was_pruned_is_read(tmp_path):
    make_run(tmp_path, c=1)
    journal = Journal(tmp_path / "journal.jsonl")
    entries = journal.read()
    journal.cut(0)
    for entry in entries:
        is_training = entry["event"] == "training"
        journal.append({**entry, "pruned": entry["clone"] == 1} if is_training else entry)
    result = load_run(tmp_path)
    assert result.state == "finished"
    assert result.lineage["failure"].fillna("").tolist() == ["", "pruned", ""]
    assert "1 of 3 clones failed." in " ".join(summarize(result))


def test_a_run_knows_when_it_began(tmp_path):
    run(make_loop(tmp_path))
    path = tmp_path / "run.json"
    result = load_run(tmp_path)
    assert abs(start_time(result) - path.stat().st_mtime) < 60
    path.write_text("{}")
    assert start_time(result) == 0.0


def test_a_run_that_is_read_again_and_again_is_the_one_in_the_folder(tmp_path):
    make_run(tmp_path, c=3)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    reader = RunReader(tmp_path)
    for count in range(len(lines) + 1):
        path.write_bytes(b"".join(lines[:count]))
        found = reader.read()
        whole = load_run(tmp_path)
        assert found.log == whole.log and found.state == whole.state
    records = reader.read().log.trainings
    assert all(a is b for a, b in zip(records, reader.read().log.trainings, strict=True))
    make_run(tmp_path, overwrite=True, seed=7)
    assert reader.read().log == load_run(tmp_path).log
    with pytest.raises(MihaError, match="only watched has no networks"):
        _ = reader.read().model
