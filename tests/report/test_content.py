"""The content of the page: every figure and every clone, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from drawn import rewritten
from fakes import FakeTrainer, make_loop
from runs import failing, make_run

from miha.report.content import FIGURES, ON_DEMAND, Table, content, outline
from miha.report.page import write_report
from miha.results.reader import load_run
from miha.results.summary import summarize
from miha.results.trials import RunView
from miha.results.verdict import make_verdict


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
    names = [name for name in FIGURES if name != ON_DEMAND]
    assert [figure["name"] for figure in found["figures"]] == names
    assert all("figure" in f or "message" in f for f in found["figures"])
    assert found["metrics"] == ["val_loss", "val_accuracy"]
    assert list(found["figures"][0]["others"]) == ["val_accuracy"]
    columns, rows = found["table"]["columns"], found["table"]["rows"]
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    lineage = result.lineage
    assert [row["mutation"] for row in table] == lineage["change"].tolist()
    assert [row["val_loss"] for row in table] == lineage["value"].tolist()
    assert [row["reason"] for row in table] == lineage["reason"].tolist()
    assert "fitness" not in columns
    verdict = make_verdict(result)
    assert found["verdict"] == {"sentences": verdict.sentences, "commands": verdict.commands}
    assert [row["archive"]["link"] for row in table] == lineage["archive"].tolist()
    assert dict(found["arguments"])["schedule.c"] == "3"
    assert dict(found["versions"])["seed"] == "0"


def test_all_figures_are_of_one_view_of_the_run(result, monkeypatch):
    made = []
    of = RunView.of
    monkeypatch.setattr(RunView, "of", lambda result: made.append(result) or of(result))
    shown = content(load_run(result.run_dir))
    assert all("figure" in figure for figure in shown["figures"])
    assert len(made) == 1


def test_a_fitness_of_the_users_own_has_a_column(tmp_path):
    result = make_run(tmp_path, fitness=lambda curve: -curve.last)
    columns, _, rows = content(result)["table"].values()
    place = columns.index("fitness")
    assert [row[place] for row in rows] == result.lineage["fitness"].tolist()


def test_what_a_reader_looks_for_first_are_the_first_columns(result):
    table = content(result)["table"]
    first = table["columns"][: table["first"]]
    assert first[:4] == ["selected", "gain", "kind", "val_loss"]
    assert first[4:] == ["val_accuracy", "mutation", "cycle", "clone"]
    place = table["columns"].index("val_accuracy")
    expected = [clone.curve("val_accuracy")[-1] for clone in RunView.of(result).clones]
    assert [row[place] for row in table["rows"]] == expected


def test_rows_that_cannot_change_are_made_once(result):
    table = Table()
    first = outline(result, table=table)["table"]["rows"]
    again = outline(result, table=table)["table"]["rows"]
    assert all(row is other for row, other in zip(first, again, strict=True))
    # The same place in another run is another clone.
    other = outline(load_run(result.run_dir), table=table)["table"]["rows"]
    assert other == first and other[0] is not first[0]


def test_importance_is_made_where_it_is_asked_for_and_there_are_fifty_clones(tmp_path):
    few = make_run(tmp_path / "few", c=12, pop_size=4)
    assert ON_DEMAND not in [f["name"] for f in content(few)["figures"]]
    *_, missing = content(few, importance=True)["figures"]
    assert "At least 50 clones" in missing["message"] and "figure" not in missing
    result = make_run(tmp_path / "many", c=13, pop_size=4)
    assert ON_DEMAND not in [f["name"] for f in content(result)["figures"]]
    *_, importance = content(result, importance=True)["figures"]
    assert importance["name"] == ON_DEMAND
    assert "52 clones" in importance["figure"]["layout"]["xaxis"]["title"]["text"]


def test_the_content_is_json_whatever_became_of_the_clones(tmp_path):
    result = make_run(tmp_path, failing("optimizer"), c=4, pop_size=5)
    text = json.dumps(content(result), allow_nan=False)
    assert "diverged" in text


def test_archives_that_are_gone_are_not_linked(tmp_path):
    result = make_run(tmp_path)
    (tmp_path / "population/1_1_model.zip").unlink()
    links = [row[-1]["link"] for row in content(result)["table"]["rows"]]
    assert links[:3] == ["population/1_0_model.zip", None, "population/1_2_model.zip"]


def test_the_content_has_the_hyperparameters_of_the_best_network_where_it_was_restored(tmp_path):
    script = {4: {"val_loss": 0.001}, 5: {"val_loss": 9.0}}
    result = make_run(tmp_path, FakeTrainer(script=script), c=1, restore_best=True)
    resulting = RunView.of(result).resulting
    ended = {name: last for name, _, last in content(result)["genes"]}
    assert resulting.phase != "final"
    assert ended["batch_size"] == str(resulting.genes["batch_size"])


def test_late_clones_of_old_runs_are_simply_clones_that_were_not_selected(result):
    older = rewritten(result, lambda entry: {"late": entry["clone"] == 2})
    columns, _, rows = content(older)["table"].values()
    place = columns.index("selected")
    assert [row[place] for row in rows] == [row[place] for row in content(result)["table"]["rows"]]


def test_the_page_has_a_figure_of_gains(result):
    [gains] = [f for f in content(result)["figures"] if f["name"] == "gains"]
    assert "paid" not in json.dumps(gains)


def test_the_control_is_called_so_in_the_table_and_in_the_figures(result):
    columns, _, rows = content(result)["table"].values()
    place = columns.index("kind")
    assert {row[place] for row in rows if row[columns.index("clone")] == 0} == {"control"}
    for figure in content(result)["figures"]:
        assert "unchanged clone" not in json.dumps(figure)
    [history] = [f for f in content(result)["figures"] if f["name"] == "history"]
    assert "control" in {trace.get("name") for trace in history["figure"]["data"]}
