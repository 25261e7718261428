"""Tables and regrets of a comparison, and the published ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from compared import SCORES, made
from paths import ROOT

from miha.compare import Comparison
from miha.compare.statistics import Mean


def test_a_table_has_means_paired_differences_and_costs():
    scipy = pytest.importorskip("scipy.stats")
    reference, other = made().table("good").to_dict("records")
    assert reference["score"] == pytest.approx(0.92)
    assert reference["error"] == pytest.approx(0.02 / math.sqrt(3))
    assert math.isnan(reference["difference"])
    assert other["difference"] == pytest.approx(0.01)
    expected = scipy.ttest_rel(SCORES["MIHA"]["good"], SCORES["random search"]["good"]).pvalue
    assert other["p"] == pytest.approx(expected)
    assert (other["epochs"], other["seconds"], other["memory"]) == (4, 2, 100)


def test_a_seed_that_one_strategy_lacks_is_no_pair():
    scores = {"MIHA": {"good": [0.9, 0.5]}, "plain": {"good": [0.8]}}
    _, other = made(scores).table("good").to_dict("records")
    assert other["difference"] == pytest.approx(0.1) and math.isnan(other["p"])


def test_equal_seconds_are_those_of_mihas_run_of_the_same_seed():
    comparison = made()
    slow = [
        replace(cell, curve=tuple((2 * at, value) for at, value in cell.curve))
        if cell.place.strategy == "random search" else cell
        for cell in comparison.cells
    ]  # fmt: skip
    comparison = Comparison(tuple(slow), comparison.about)
    reference, other = comparison.at_equal_seconds("good").to_dict("records")
    assert reference["value"] == pytest.approx(0.2) and reference["epochs"] == 4
    # Its third and fourth epochs ended later.
    assert other["value"] == pytest.approx(0.4) and (other["epochs"], other["n"]) == (2, 3)
    assert other["difference"] == pytest.approx(-0.2)
    text = comparison.to_markdown()
    assert "the best val_loss when MIHA's run of the same seed ended" in text
    assert "| random search | 0.4000 ± 0.0000 | -0.2000 ± 0.0000 |" in text


def test_regret_is_counted_from_the_best_known_over_random_starts():
    comparison = made()
    assert comparison.best_known == pytest.approx(0.94)
    reference, other = comparison.regret().to_dict("records")
    assert reference["regret"] == pytest.approx(0.14) and reference["worst"] == pytest.approx(0.24)
    assert other["regret"] == pytest.approx(0.24) and other["worst"] == pytest.approx(0.34)


def test_regret_counts_the_other_way_where_small_is_better():
    comparison = made(mode="min")
    assert comparison.best_known == pytest.approx(0.6)
    assert comparison.regret()["regret"].tolist() == pytest.approx([0.2, 0.1])


def test_the_best_strategy_has_a_regret_too_where_all_starts_are_random():
    scores = {name: {"random": starts["random"]} for name, starts in SCORES.items()}
    assert min(made(scores).regret()["regret"]) > 0.05


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("mnist", 5),
        ("mnist-good", 5),
        ("article", 3),
        ("lst", 4),
        ("lst-good", 3),
        ("cifar", 3),
        ("cifar-good", 3),
    ],
)
def test_published_tables_say_what_the_published_cells_do(name, seeds):
    docs = ROOT / "docs"
    comparison = Comparison.load(docs / "results" / f"{name}.json")
    lines = (docs / "results.md").read_text(encoding="utf-8").splitlines()
    for start in comparison.starts:
        for strategy in comparison.strategies:
            scores = comparison.scores(start, strategy)
            assert len(scores) >= seeds
            mean = Mean.of(list(scores.values()))
            rows = [line for line in lines if line.startswith(f"| {strategy} |")]
            assert any(f" | {mean} |" in row for row in rows)
        for found in comparison.at_equal_seconds(start).to_dict("records"):
            value = Mean(found["value"], found["error"], found["n"])
            rows = [line for line in lines if line.startswith(f"| {found['strategy']} |")]
            assert any(f" | {value} |" in row for row in rows)
