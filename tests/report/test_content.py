"""The content of the page: every figure and every clone, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from drawn import edited
from fakes import FakeTrainer, make_loop
from runs import failing, make_run

from miha.report.content import FIGURES, content
from miha.report.page import write_report
from miha.results.reader import load_run
from miha.results.summary import summarize
from miha.results.trials import RunView
from miha.search.budgets import Budgets


def test_a_running_run_has_all_its_figures(result):
    begun = replace(load_run(result.run_dir), state="running")
    assert all("figure" in figure for figure in content(begun)["figures"])


def test_a_run_that_has_not_trained_yet_has_a_summary_and_a_page(tmp_path):
    make_loop(tmp_path)
    result = load_run(tmp_path)
    [only] = summarize(result)
    assert only.startswith("The run is interrupted: 0 of 2 cycles and 0 trainings")
    assert content(result)["table"]["rows"] == []
    assert write_report(result).exists()


def test_the_content_has_every_figure_and_every_clone(result):
    found = content(result)
    assert [figure["name"] for figure in found["figures"]] == list(FIGURES)
    assert all("figure" in f or "message" in f for f in found["figures"])
    columns, rows = found["table"]["columns"], found["table"]["rows"]
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    lineage = result.lineage
    assert [row["mutation"] for row in table] == lineage["change"].tolist()
    assert [row["fitness"] for row in table] == lineage["fitness"].tolist()
    assert [row["archive"]["link"] for row in table] == lineage["archive"].tolist()
    assert dict(found["arguments"])["schedule.c"] == "3"
    assert dict(found["versions"])["seed"] == "0"


def test_the_content_is_json_whatever_became_of_the_clones(tmp_path):
    result = make_run(tmp_path, failing("optimizer"), c=4, pop_size=5)
    text = json.dumps(content(result), allow_nan=False)
    assert "diverged" in text


def test_archives_that_are_gone_are_not_linked(tmp_path):
    result = make_run(tmp_path)
    (tmp_path / "population/1_1_model.zip").unlink()
    links = [row[8]["link"] for row in content(result)["table"]["rows"]]
    assert links[:3] == ["population/1_0_model.zip", None, "population/1_2_model.zip"]


def test_the_content_has_the_hyperparameters_of_the_best_network_where_it_was_restored(tmp_path):
    script = {4: {"val_loss": 0.001}, 5: {"val_loss": 9.0}}
    more = {"budgets": Budgets(max_epochs=15), "restore_best": True}
    result = make_run(tmp_path, FakeTrainer(script=script), c=9, **more)
    held = RunView.of(result).held
    ended = {name: last for name, _, last in content(result)["genes"]}
    assert held.phase != "final" and ended["batch_size"] == str(held.genes["batch_size"])


def test_late_clones_of_old_runs_are_simply_clones_that_were_not_selected(result):
    older = edited(result, lambda _, entry: {"late": True} if entry["clone"] == 2 else {})
    columns, rows = content(older)["table"].values()
    place = columns.index("selected")
    assert [row[place] for row in rows] == [row[place] for row in content(result)["table"]["rows"]]


def test_the_page_has_a_figure_of_gains(result):
    [gains] = [f for f in content(result)["figures"] if f["name"] == "gains"]
    assert "paid" not in json.dumps(gains)
