"""Figures: they show what the run's folder says, whatever the run is doing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from drawn import layout, texts, with_genes
from runs import SCRIPT

from miha import visualization as figures
from miha.errors import MihaError
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

NAMES = [name for name in figures.__all__ if name != "plot_importance"]


def test_there_is_a_method_of_the_result_for_each_figure(result):
    for name in NAMES:
        method = getattr(result, name)()
        assert method.to_json() == getattr(figures, name)(result).to_json()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lines", [0, 1, 2, 4, 5, 6, 9])
def test_a_run_at_any_moment_has_its_figures_or_says_what_is_missing(result, name, lines):
    entries = Journal(result.run_dir / "journal.jsonl").read()
    begun = replace(result, state="running", log=Logbook.of(entries[:lines]))
    try:
        assert getattr(figures, name)(begun).to_json()
    except MihaError as error:
        assert "Received" in str(error)
        assert lines < 5 or name == "plot_pairs"


@pytest.mark.parametrize("run", ["rested_run", "spoilt_run"])
@pytest.mark.parametrize("name", NAMES)
def test_figures_are_made_of_rests_and_returns(request, name, run):
    assert getattr(figures, name)(request.getfixturevalue(run)).to_json()


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_made_where_clones_failed(failed_run, name):
    figure = getattr(figures, name)(failed_run)
    assert "Infinity" not in figure.to_json() and "NaN" not in figure.to_json()


def test_new_genes_are_shown_without_being_known(result):
    def more(number, record):
        return {"dropout": {"drop": 0.1 * (number % 3)}, "label_smoothing": 0.1 * (number % 2)}

    result = with_genes(result, more)
    for name in NAMES:
        assert getattr(figures, name)(result).data
    assert "dropout.drop" in json.dumps(layout(figures.plot_schedule(result)))


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_made_where_some_genomes_lack_a_gene(result, name):
    some = with_genes(result, lambda n, _: {"weight_decay": 0.5 + 0.1 * (n % 3)} if n % 2 else {})
    assert getattr(figures, name)(some).to_json()


@pytest.mark.parametrize("name", NAMES)
def test_text_of_the_run_is_escaped_wherever_plotly_takes_tags(hostile_run, name):
    figure = json.loads(getattr(figures, name)(hostile_run).to_json())
    raw = {SCRIPT, "<b>tanh</b>"} if name == "plot_parallel_coordinate" else set()
    found = [text for text in texts(figure) if "script" in text or "tanh" in text]
    assert found
    for text in found:
        # Of parallel coordinates Plotly takes no tags: their labels are as they are.
        is_raw = bool(raw) and (text in raw or text.startswith(("activations.", "…", "<script>")))
        assert is_raw or "<script" not in text and "<b>tanh" not in text


def test_backgrounds_are_transparent_and_lines_are_no_black_or_white(result):
    for name in NAMES:
        figure = json.loads(getattr(figures, name)(result).to_json())
        assert figure["layout"]["paper_bgcolor"] == figure["layout"]["plot_bgcolor"]
        assert figure["layout"]["paper_bgcolor"].endswith(",0)")
        shown = {t.get("line", {}).get("color") for t in figure["data"] if t["type"] == "scatter"}
        assert not shown & {"#000000", "#ffffff", "black", "white"}


def test_without_plotly_the_message_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[plot\]'"):
        figures.plot_lineage(result)
