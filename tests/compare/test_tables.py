"""Tables, differences, regrets and figures of a comparison."""

from __future__ import annotations

import math
import shutil
import sys

import numpy as np
import pytest
from paths import ROOT

from miha.compare import Comparison
from miha.compare.comparison import REFERENCE
from miha.compare.harness import direction
from miha.compare.figures import best_so_far, plot_correlations, plot_fields
from miha.compare.records import Cell, Place
from miha.compare.statistics import Difference, Mean, p_value, rank_correlations
from miha.compare.writing import draw

SCORES = {
    "MIHA": {"good": [0.9, 0.92, 0.94], "random": [0.8, 0.9, 0.7]},
    "random search": {"good": [0.9, 0.91, 0.92], "random": [0.6, 0.7, 0.8]},
}


def made(scores=SCORES, mode="max") -> Comparison:
    curve = ((0.5, 0.9), (1.0, 0.4), (1.5, 0.6), (2.0, 0.2))
    cells = [
        Cell(Place(start, name, seed), {"accuracy": value}, 0.2, None, 4, 2.0, 100.0, curve)
        for name, starts in scores.items()
        for start, values in starts.items()
        for seed, value in enumerate(values)
    ]
    about = {"epochs": 4, "monitor": "val_loss", "mode": "min", "metric": "accuracy"}
    about |= {"metric_mode": mode, "strategies": list(scores), "starts": ["good", "random"]}
    return Comparison(tuple(cells), about | {"random_starts": ["random"]}, {})


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


@pytest.mark.parametrize(
    "gaps, p", [([0.0, 0.0], 1.0), ([0.1, 0.1], math.nan), ([0.1], math.nan), ([], math.nan)]
)
def test_a_paired_test_that_cannot_be_done_gives_no_number(gaps, p):
    assert p_value(gaps) == p or (math.isnan(p) and math.isnan(p_value(gaps)))


def test_differences_are_of_the_seeds_that_both_have():
    found = Difference.of({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.5, 1: 1.0, 3: 7.0})
    assert found.mean == Mean(0.75, 0.25, 2)


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


def test_one_pair_among_several_seeds_has_no_error():
    pytest.importorskip("scipy.stats")
    text = made({"MIHA": {"good": [0.9]}, "plain": {"good": [0.8, 0.7]}}).to_markdown()
    assert "| plain | 0.7500 ± 0.0500 | 0.1000 | – | 2 |" in text and "nan" not in text


def test_a_mean_of_those_that_are_numbers_leaves_out_the_others():
    assert Mean.finite([1.0, math.nan, 3.0]) == Mean(2.0, 1.0, 2)


def test_the_markdown_tells_scores_differences_and_how_it_was_done():
    pytest.importorskip("scipy.stats")
    text = made().to_markdown()
    assert "| random search | 0.9100 ± 0.0058 | 0.0100 ± 0.0058 | 0.225 | 3 | 0 | 4 | 2.0 |" in text
    assert "larger is better" in text and "best score of any cell, 0.9400; starts: random" in text


@pytest.mark.parametrize(
    "mode, values, best",
    [
        ("min", [3, math.nan, 1, 2], [3, 3, 1, 1]),
        ("max", [1, math.inf, 3, 2], [1, 1, 3, 3]),
        ("max", [math.nan, 1], [-math.inf, 1]),
    ],
)
def test_the_best_so_far_never_gets_worse(mode, values, best):
    assert best_so_far(values, mode).tolist() == best


def test_the_curves_are_means_over_seeds_of_the_best_so_far():
    figure = made().plot_epochs()
    assert [trace.name for trace in figure.data] == ["MIHA", "random search"] * 2
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    assert list(figure.data[0].y) == pytest.approx([0.9, 0.4, 0.4, 0.2])


def test_the_curves_against_seconds_step_when_an_epoch_ends():
    line = made().plot_seconds().data[0]
    seconds, values = np.array(line.x), np.array(line.y, float)
    assert seconds[0] == pytest.approx(0.5) and seconds[-1] == pytest.approx(2.0)
    assert values[seconds < 0.99] == pytest.approx(0.9)
    assert values[(seconds > 1.01) & (seconds < 1.99)] == pytest.approx(0.4)
    assert values[-1] == pytest.approx(0.2)


def test_a_strategy_that_stopped_early_keeps_its_best_to_the_end():
    cells = [
        Cell(Place("a", REFERENCE, seed), {"loss": 1.0}, curve=tuple((i, v) for i in range(1, n)))
        for seed, (n, v) in enumerate([(3, 1.0), (5, 3.0)])
    ]
    about = {"monitor": "val_loss", "mode": "min", "metric": "loss", "metric_mode": "min"}
    about |= {"strategies": [REFERENCE], "starts": ["a"], "random_starts": []}
    line = Comparison(tuple(cells), about, {}).plot_epochs().data[0]
    assert list(line.y) == [2.0, 2.0, 2.0, 2.0]


def test_the_scores_are_a_point_for_each_seed_and_their_mean():
    figure = made().plot_scores()
    points, mean = figure.data[:2]
    assert sorted(points.x) == pytest.approx([0.9, 0.91, 0.92])
    assert mean.x[0] == pytest.approx(0.91) and mean.error_x.array[0] == pytest.approx(
        0.00577, 0.01
    )


def test_rank_correlations_tell_how_early_ranks_predict_the_last_ones():
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(7, 5)), axis=1)
    found = rank_correlations(values, "min")
    expected = [scipy.spearmanr(column, values[:, -1]).statistic for column in values.T]
    assert found == pytest.approx(expected) and found[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("mode, bad", [("min", 9.0), ("max", -9.0)])
def test_a_candidate_that_diverges_ranks_last(mode, bad):
    pytest.importorskip("scipy.stats")
    values = np.array([[1.0, 1.0], [2.0, 2.0], [math.nan, math.inf], [0.5, 3.0]])
    filled = np.where(np.isfinite(values), values, bad)
    assert rank_correlations(values, mode) == pytest.approx(rank_correlations(filled, mode))


def test_candidates_that_are_all_alike_have_no_ranks():
    pytest.importorskip("scipy.stats")
    assert math.isnan(rank_correlations(np.array([[1.0, 1.0], [1.0, 2.0]]), "min")[0])


def test_fields_are_drawn_beside_each_other_in_the_colours_of_the_first():
    true = np.arange(8.0).reshape(2, 2, 2)
    gappy = np.where(true % 2 == 0, np.nan, true)
    figure = plot_fields({"true": true, "gappy": gappy})
    maps = figure.data
    assert len(maps) == 4
    assert [(m.zmin, m.zmax) for m in maps] == [(0, 3), (0, 3), (4, 7), (4, 7)]
    np.testing.assert_array_equal(maps[0].z, true[0][::-1])  # The first line is at the top.
    assert figure.layout.xaxis.title.text == "true" and figure.layout.xaxis3.title.text is None
    assert figure.layout.yaxis.domain[1] == 1.0 and figure.layout.width == 340


def test_correlations_are_a_line_of_means_with_their_errors():
    figure = plot_correlations(np.array([[0.5, 1.0], [0.7, 1.0], [math.nan, 1.0]]))
    assert list(figure.data[0].x) == [1, 2]
    assert list(figure.data[0].y) == pytest.approx([0.6, 1.0])
    assert list(figure.data[0].error_y.array) == pytest.approx([0.1, 0.0])


def test_without_kaleido_a_line_says_that_there_are_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
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


def test_twelve_strategies_look_different():
    from miha.compare.figures import look_of

    names = ["MIHA", *(f"strategy {i}" for i in range(12))]
    comparison = Comparison((), {"strategies": names, "starts": []}, {})
    looks = [tuple(look_of(comparison, name).values())[:2] for name in names]
    assert len(set(looks)) == 13


@pytest.mark.parametrize(
    "name, mode",
    [("val_loss", "min"), ("val_accuracy", "max"), ("auc", "max"), ("mse_gap", "min")],
)
def test_how_a_value_is_better_is_told_by_its_name(name, mode):
    assert direction("mode", name, "auto") == mode
    assert direction("mode", name, "max") == "max"


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("mnist", 5),
        ("mnist-good", 5),
        ("lst", 5),
        ("cifar", 5),
        ("lst-starts", 3),
        ("cifar-starts", 3),
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


def test_published_shares_of_seconds_are_those_of_the_published_cells():
    docs = ROOT / "docs"
    cells = Comparison.load(docs / "results" / "wall.json").cells
    seconds = {(cell.place.seed, cell.place.strategy): cell.seconds for cell in cells}
    text = (docs / "results.md").read_text(encoding="utf-8")
    for seed in range(3):
        optuna, plain = (seconds[seed, n] for n in ("Optuna (TPE, median)", "plain training"))
        ours = [seconds[seed, n] for n in ("MIHA", "MIHA, compiled by XLA")]
        shares = [f"{own / other:.2f}" for own in ours for other in (optuna, plain)]
        assert f"| {seed} | {' | '.join(shares)} |" in text
