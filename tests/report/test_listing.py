"""The runs of a folder as a list: their state, values and size, in the order asked for."""

from __future__ import annotations

import re
import shutil

import pytest
from fakes import FakeTrainer
from runs import make_run, old_run, rested

from miha.records import Judge
from miha.report.listing import print_runs
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal
from miha.storage.lock import locked


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def printed(capsys, *arguments):
    print_runs(*arguments)
    return " ".join(capsys.readouterr().out.split())


def test_no_value_of_data_that_a_network_has_seen_is_listed(capsys, tmp_path):
    script = {number: {"val_loss": 2.0, "val_accuracy": 0.25} for number in range(5)}
    script[5] = {"val_loss": 0.5, "val_accuracy": 0.75}
    judge = Judge("val_accuracy", "max")
    options = {"c": 1, "restore_best": False, "final_data": "all", "judge": judge}
    make_run(tmp_path / "run", FakeTrainer(script=script), **options)
    words = printed(capsys, tmp_path)
    assert "val_loss 2" in words and "val_accuracy 0.25" in words


def test_runs_are_listed_with_their_state(capsys, tmp_path):
    for name in ("a", "b", "c", "d"):
        make_run(tmp_path / name)
    Journal(tmp_path / "b/journal.jsonl").cut(6)
    Journal(tmp_path / "c/journal.jsonl").cut(1)
    path = tmp_path / "d/journal.jsonl"
    path.write_bytes(b"garbage\n" + path.read_bytes())
    (tmp_path / "no run").mkdir()
    with locked(tmp_path / "c"):
        out = printed(capsys, tmp_path)
    for words in (
        "a │ finished │ 2/2",
        "b │ interrupted │ 1/2",
        "c │ running │ 0/2",
        "d │ damaged",
    ):
        assert words in out
    assert "no run" not in out


def test_a_list_counts_rests_and_has_the_time(capsys, tmp_path):
    result = rested(tmp_path / "rested")
    out = printed(capsys, tmp_path)
    best = result.log.best(result.mode).value
    assert "finished │ 8/8 │" in out and f"val_loss {best:.4g}" in out
    assert re.search(r"│ \d{4}-\d\d-\d\d \d\d:\d\d │", out)


@pytest.fixture
def described(monkeypatch):
    """Return a function that changes what runs say of themselves, by the names of their folders."""

    def change(changes):
        whole = RunFolder.description

        def description(folder):
            found = whole(folder)
            found |= changes.get(folder.path.name, {})
            return found

        monkeypatch.setattr(RunFolder, "description", description)

    return change


def test_a_list_has_the_metric_of_the_best_network_and_the_size(capsys, tmp_path, described):
    result = make_run(tmp_path / "run")
    arguments = RunFolder(result.run_dir).description()["arguments"]
    judge = {"name": "val_accuracy", "mode": "max"}
    described({"run": {"arguments": arguments | {"judge": judge}}})
    (result.run_dir / "large").write_bytes(bytes(7_000_000))
    accuracies = [record.epochs[-1].logs["val_accuracy"] for record in result.log.trainings]

    row = re.search(r"val_loss \S+ │ val_accuracy (\S+) │ (\S+) MB", printed(capsys, tmp_path))
    assert float(row[1]) == pytest.approx(max(accuracies), rel=0.05)
    assert 7.0 <= float(row[2]) < 7.5


def test_a_list_is_sorted_as_asked(capsys, tmp_path, described):
    for name in "abc":
        make_run(tmp_path / name, c=1)
    days = {"b": 1, "c": 2, "a": 3}
    described({name: {"started": f"2026-01-0{day}T00:00+00:00"} for name, day in days.items()})
    (tmp_path / "c" / "large").write_bytes(bytes(1_000_000))
    Journal(tmp_path / "a/journal.jsonl").cut(0)

    def order(sort):
        return re.findall(r"│ ([abc]) │", printed(capsys, tmp_path, sort))

    assert order("name") == ["a", "b", "c"]
    assert order("started") == ["a", "c", "b"]
    assert order("size")[0] == "c"
    # Nothing is known of the run that has no training.
    assert order("best")[-1] == "a"


def test_a_run_of_an_earlier_version_is_listed(capsys, tmp_path):
    shutil.copytree(old_run("plain").run_dir, tmp_path / "old")
    assert re.search(r"old │ finished │ \S+ │ val_loss \S+ │ │", printed(capsys, tmp_path))
