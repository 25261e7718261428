"""Runs that version 0.3.0 wrote: the page, the figures and `miha show` are made of them."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from paths import ROOT

from miha import visualization as figures
from miha.cli import main
from miha.report.content import content
from miha.results.reader import load_run

NAMES = ("plain", "joined")


@pytest.fixture(scope="module", params=NAMES)
def old(request, tmp_path_factory):
    """A copy of a run; in `joined`, clones go on from clones, and one has two parents."""
    folder = tmp_path_factory.mktemp("old") / request.param
    shutil.copytree(ROOT / "tests/fixtures/run_0_3_0" / request.param, folder)
    return folder


def test_an_old_run_has_its_page_figures_and_words(old, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    lineage = pd.read_csv(old / "lineage.csv")
    result = load_run(old)

    for name in set(figures.__all__) - {"plot_importance"}:
        figure = getattr(figures, name)(result).to_json()
        assert json.loads(figure)["data"]
        assert "NaN" not in figure and "Infinity" not in figure

    assert main(["report", str(old)]) == 0
    assert (old / "report.html").stat().st_size > 10_000
    found = content(result)
    assert all("figure" in figure for figure in found["figures"])
    table = pd.DataFrame(found["table"]["rows"], columns=found["table"]["columns"])
    assert table["mutation"].tolist() == lineage["change"].tolist()
    assert table["val_loss"].tolist() == lineage["value"].tolist()
    assert (table["reason"] == "").all()
    # A clone that went on from a mutant was recorded as unchanged: it counts as the mutant's kind.
    is_new = ~lineage["change"].str.contains("goes on")
    kinds = lineage["gene"].replace("none", "control")
    assert table["kind"][is_new].tolist() == kinds[is_new].tolist()
    assert (table["selected"] == "selected").tolist() == lineage["selected"].tolist()

    capsys.readouterr()
    assert main(["show", str(old), "--all"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "The run is finished" in words and "the control won" in words
    assert "Verdict" in words and "Take it: `result.model`" in words
    for row in lineage.itertuples():
        assert f"│ {row.cycle} │ {row.clone} │ {row.change} │" in words
