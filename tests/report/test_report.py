"""The page and the sentences: what they say of a run, and that they take nothing for a tag."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from dataclasses import replace

import pytest
from fakes import FakeTrainer, make_loop
from runs import SCRIPT, failing, grown, hostile, make_run, raced, rested, spoilt

pytest.importorskip("plotly")
from miha.results.story import Story

from miha.errors import StorageError
from miha.report.content import FIGURES, content
from miha.report.page import page, write_report
from miha.results.reader import load_run
from miha.results.summary import summarize
from miha.storage.journal import Journal


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "mnist", c=3)


def unpacked(text, name):
    packed = re.search(rf'<script [^>]*id="{name}">([^<]*)</script>', text).group(1)
    return gzip.decompress(base64.b64decode(packed)).decode()


def test_the_summary_says_start_end_best_and_what_changed(result):
    words = " ".join(summarize(result))
    story = Story.of(result)
    assert "The run is finished: 3 of 3 cycles and 14 trainings, 25 epochs" in words
    assert "It started from optimizer sgd" in words or "started from" in words
    assert f"The best val_loss was {result.best_value:.4g}" in words
    won = [c for c in story.clones if c.selected and c.gene != "none"]
    assert won and all(f"{c.change} in cycle {c.cycle} (gain " in words for c in won)
    assert f"In {3 - len(won)} of 3 cycles the unchanged clone won." in words


def test_the_summary_counts_what_failed_and_where_nothing_helped(tmp_path):
    result = make_run(tmp_path, failing("batch_size"), c=4, pop_size=6)
    failed = sum(clone.failure is not None for clone in Story.of(result).clones)
    assert failed and f"{failed} of 24 clones failed." in summarize(result)[-1]


def test_the_summary_names_a_mutation_that_went_on_by_itself(tmp_path):
    result = raced(tmp_path)
    won = [clone for clone in Story.of(result).won.values() if clone.gene != "none"]
    words = summarize(result)[-1]
    assert won and all(f"{clone.mutation} in cycle {clone.cycle}" in words for clone in won)
    assert "goes on" not in words
    assert f"In {3 - len(won)} of 3 cycles the unchanged clone won." in words


def test_the_summary_counts_rests_and_returns(tmp_path):
    result = rested(tmp_path / "rested")
    words, rests = " ".join(summarize(result)), len(Story.of(result).rests)
    times = {1: "Once", 2: "Twice"}.get(rests, f"{rests} times")
    assert "8 of 8 cycles" in words and f"{times} the network trained alone" in words
    assert "went back" not in words
    words = " ".join(summarize(spoilt(tmp_path / "spoilt")))
    assert "Once the run went back to its best network." in words and "alone" not in words


def test_the_summary_says_why_a_run_ended_early_and_which_network_it_has(tmp_path):
    from miha.search.budgets import Budgets

    budgets = Budgets(max_epochs=15)
    script = {4: {"val_loss": 0.001}, 5: {"val_loss": 9.0}}
    result = make_run(tmp_path, FakeTrainer(script=script), c=9, budgets=budgets, restore_best=True)
    words = " ".join(summarize(result))
    assert result.stopped and f"Why it ended before its last cycle: {result.stopped}" in words
    held = Story.of(result).held
    assert held.phase != "final" and f"ended with its best network, that of {held.name}: " in words
    assert f"({result.monitor} {held.value:.4g})" in words
    ended = {name: last for name, _, last in content(result)["genes"]}
    assert ended["batch_size"] == str(held.genes["batch_size"])


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


def test_many_layers_are_not_all_named_in_a_sentence(tmp_path):
    result = make_run(tmp_path)
    slots = {f"layer_{i}": "relu" for i in range(100)}
    for number, entry in enumerate(result._log.trainings):
        genome = {**entry["genome"], "activations": slots}
        result._log.trainings[number] = {**entry, "genome": genome}
    assert "more" in summarize(result)[1]
    assert len(summarize(result)[1]) < 1000


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


def test_links_lead_from_where_the_page_is(tmp_path):
    result = make_run(tmp_path / "run #1")
    path = write_report(result, tmp_path / "pages.html")
    shown = json.loads(unpacked(path.read_text(), "content"))
    link = shown["table"]["rows"][0][8]["link"]
    assert link == "run%20%231/population/1_0_model.zip"


def test_a_page_may_ask_nobody_and_run_its_own_script_only(result):
    text = write_report(result).read_text()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1))
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}' 'unsafe-eval'"
    outside = text.split('id="plotly"')[0]
    assert "http://" not in outside and "https://" not in outside
    assert "connect-src 'self';" in html.unescape(page("live", None))


def test_names_of_the_run_are_never_markup_in_the_page(tmp_path):
    folder = tmp_path / "a<b>&"
    text = write_report(make_run(folder, hostile(), c=3, pop_size=6)).read_text()
    assert "<title>a&lt;b&gt;&amp; – MIHA</title>" in text
    assert SCRIPT not in text
    assert SCRIPT in json.dumps(json.loads(unpacked(text, "content"))["arguments"])


def test_a_page_replaces_the_one_before_and_is_gone_with_the_run_it_showed(tmp_path):
    result = make_run(tmp_path / "run")
    first = result.report()
    assert first == tmp_path / "run/report.html"
    before = first.read_text()
    Journal(tmp_path / "run/journal.jsonl").cut(6)
    assert load_run(tmp_path / "run").report().read_text() != before
    make_loop(tmp_path / "run", overwrite=True, seed=5)
    assert not first.exists()


def test_a_page_that_cannot_be_written_is_an_error_with_words(result, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"must have a place that is writable.*Name another"):
        result.report(tmp_path / "file" / "page.html")
    assert result.report(tmp_path / "new" / "page.html").exists()


def test_a_thousand_clones_take_less_than_five_megabytes(tmp_path):
    result = grown(make_run(tmp_path, n=3, c=1, pop_size=20), cycles=50)
    assert len(result.lineage) == 1000
    assert result.report().stat().st_size < 5e6


def test_a_result_in_a_notebook_is_html_without_its_own_tags(tmp_path):
    result = make_run(tmp_path, hostile(), c=3, pop_size=6)
    shown = result._repr_html_()
    assert shown.startswith("<div>") and shown.endswith("</div>")
    assert "<script" not in shown
    winners = [clone for clone in Story.of(result).clones if clone.selected]
    assert shown.count("<tr>") == 1 + len(winners)
    assert html.escape(winners[0].change) in shown


def test_a_result_whose_folder_is_gone_is_shown_in_a_notebook(tmp_path):
    result = make_run(tmp_path / "run")
    (tmp_path / "run/run.json").unlink()
    assert "must hold its `run.json`" in result._repr_html_()
