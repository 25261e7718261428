"""The files of a comparison: JSON, tables, pictures."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass

import pytest
from compared import MIHA, made, run
from rivals import START, Rival

from miha.compare import Comparison
from miha.compare.writing import draw


def test_one_pair_among_several_seeds_has_no_error():
    text = made({"MIHA": {"good": [0.9]}, "plain": {"good": [0.8, 0.7]}}).to_markdown()
    assert "| plain | 0.7500 ± 0.0500 | 0.1000 | – | 2 |" in text and "nan" not in text


def test_the_markdown_tells_scores_differences_and_how_it_was_done():
    text = made().to_markdown()
    assert "| random search | 0.9100 ± 0.0058 | 0.0100 ± 0.0058 | 0.225 | 3 | 0 | 4 | 2.0 |" in text
    assert "larger is better" in text and "best score of any cell, 0.9400; starts: random" in text


@pytest.mark.usefixtures("nothing_has_run")
def test_a_score_that_is_not_finite_is_counted_and_the_others_are_averaged(tmp_path):
    @dataclass(frozen=True)
    class Diverging(Rival):
        def run(self, task):
            quality = super().run(task)
            return math.nan if task.seed == 1 else quality

    comparison = run(tmp_path, [MIHA, Diverging("wild")], starts={"mine": START}, seeds=3)
    _, row = comparison.table("mine").to_dict("records")
    assert (row["score"], row["n"], row["failed"]) == (0.5, 2, 1)
    assert row["difference"] == pytest.approx(0.31) and not math.isnan(row["error"])
    text = comparison.to_markdown()
    assert "- wild, start mine, seed 1: accuracy is not finite." in text
    assert "| n | failed | epochs |" in text
    points = [t for t in comparison.plot_scores().data if t.text and "wild" in t.text[0]]
    assert [text[-14:] for text in points[0].text] == ["seed 0: 0.5000", "seed 2: 0.5000"]
    assert comparison.regret()["failed"].tolist() == [0, 1]


@pytest.mark.usefixtures("nothing_has_run")
def test_the_folder_reproduces_tables_and_figures(tmp_path):
    comparison = run(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.cells == comparison.cells and again.to_markdown() == comparison.to_markdown()
    assert (tmp_path / "tables.md").read_text() == comparison.to_markdown()
    for name in ("epochs", "seconds", "scores"):
        figure = getattr(again, f"plot_{name}")()
        assert figure.to_json() == getattr(comparison, f"plot_{name}")().to_json()
        assert (tmp_path / f"{name}.html").exists()
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


@pytest.mark.usefixtures("nothing_has_run")
def test_scores_that_are_not_finite_survive_the_file(tmp_path):
    run(tmp_path, [Rival("MIHA", math.nan)], starts={"mine": START}, seeds=1)
    cell = Comparison.load(tmp_path).cells[0]
    assert math.isnan(cell.scores["accuracy"]) and math.isnan(cell.curve[0][1])
    assert "NaN" not in json.dumps(json.loads((tmp_path / "comparison.json").read_text()))


@pytest.mark.usefixtures("no_pictures")
def test_without_kaleido_a_line_says_that_there_are_no_pictures(tmp_path):
    said = []
    made().save(tmp_path, said.append)
    assert len(said) == 1 and said[0].startswith("No PNG, only HTML")
    assert {path.name for path in tmp_path.glob("*.html")} == {
        *("epochs.html", "scores.html", "seconds.html")
    }


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_figures_are_pictures_where_kaleido_and_a_browser_are(tmp_path):
    pytest.importorskip("kaleido", reason="pip install 'miha[compare]'")
    said = []
    draw({"scores": made().plot_scores()}, tmp_path, said.append)
    assert not said and (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
