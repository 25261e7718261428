"""Several runs side by side: what differs is marked, and one figure has the best so far of all."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
from fakes import FakeTrainer
from runs import SCRIPT, hostile, make_run

from miha.cli import main
from miha.errors import ArgumentError
from miha.report.compared import RunsCompared, differs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    make_run(parent / "a", FakeTrainer())
    make_run(parent / "b", FakeTrainer(), c=3, seed=4)
    return [parent / "a", parent / "b"]


def test_settings_stand_side_by_side_and_what_differs_is_marked(folders, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["compare-runs", *map(str, folders)]) == 0
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    rows = {line[2].strip(): [cell.strip() for cell in line[1:-1]] for line in lines}
    assert rows["schedule.c"] == ["≠", "schedule.c", "2", "3"]
    assert rows["seed"] == ["≠", "seed", "0", "4"]
    assert rows["schedule.m"] == ["", "schedule.m", "2", "2"]
    assert rows["state"][2:] == ["finished", "finished"]
    # As many epochs as were trained: 2 x m, and for each cycle 3 clones x n and k.
    assert rows["epochs trained"][2:] == ["18", "25"]


def test_the_page_of_several_runs_has_the_best_so_far_of_all(folders, tmp_path, capsys):
    page = tmp_path / "new/runs.html"
    assert main(["compare-runs", *map(str, folders), "--to", str(page)]) == 0
    packed = re.search(r'<script [^>]*id="content">([^<]*)<', page.read_text()).group(1)
    found = json.loads(gzip.decompress(base64.b64decode(packed)))
    [figure] = found["figures"]
    assert {trace["name"] for trace in figure["figure"]["data"]} == {"a", "b"}
    assert found["genes_heads"] == ["", "a", "b"]
    assert "schedule.c" in found["summary"][0] and "schedule.m" not in found["summary"][0]


def test_what_a_run_lacks_is_a_dash_and_names_are_no_markup(folders, tmp_path, capsys):
    make_run(tmp_path / "[red]c", hostile())
    runs = RunsCompared.of([*folders, tmp_path / "[red]c"])
    lacking = [row for row in runs.settings if SCRIPT in row[0]]
    assert lacking and all(row[1:3] == ["–", "–"] and differs(row) for row in lacking)
    runs.print()
    assert "[red]c" in capsys.readouterr().out


def test_one_run_is_not_compared_and_a_folder_without_one_is_named(folders, tmp_path, capsys):
    with pytest.raises(ArgumentError, match="Two runs or more must be compared"):
        RunsCompared.of(folders[:1])
    assert main(["compare-runs", str(folders[0]), str(tmp_path)]) == 1
    assert "holds none" in capsys.readouterr().err
