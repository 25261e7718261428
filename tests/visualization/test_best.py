"""The best so far: over all trained epochs and over seconds, of one run or several."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from drawn import layout, traces
from runs import make_run

from miha.errors import MihaError
from miha.records import Judge
from miha.results.trials import RunView
from miha.search import best
from miha.visualization import plot_best
from miha.visualization.best import best_so_far, names_of


def title_of(figure):
    return layout(figure)["title"]["text"]


def test_the_best_so_far_counts_every_epoch_that_was_trained(result):
    view = RunView.of(result)
    steps = best_so_far(view, "val_loss", "min")
    values = [value for _, _, value, _ in steps]
    assert values == sorted(values, reverse=True)
    assert values[-1] == min(trial.value for trial in view.trials)
    assert steps[-1][0] == sum(len(trial.record.epochs) for trial in view.trials)
    assert steps[-1][1] == pytest.approx(sum(r.wall_seconds for r in result.log.trainings))


def test_the_figure_has_a_point_where_the_best_got_better(result):
    [epochs, seconds] = traces(plot_best(result))
    steps = best_so_far(RunView.of(result), "val_loss", "min")
    assert set(epochs["y"]) == {value for _, _, value, _ in steps} == set(seconds["y"])
    assert epochs["x"][-1] == steps[-1][0] and seconds["x"][-1] == steps[-1][1]
    assert epochs["line"]["shape"] == "hv"


def test_a_metric_is_better_by_its_name_or_as_is_said(result):
    [line, _] = traces(plot_best(result, "val_accuracy"))
    assert line["y"] == sorted(line["y"]) and line["y"][0] < line["y"][-1]
    [worst, _] = traces(plot_best(result, "val_accuracy", "min"))
    assert worst["y"] == sorted(worst["y"], reverse=True)
    with pytest.raises(MihaError, match="must name values that were logged"):
        plot_best(result, "val_acc")


def test_networks_that_failed_are_never_the_best(failed_run):
    steps = best_so_far(RunView.of(failed_run), "val_loss", "min")
    assert all(math.isfinite(value) for _, _, value, _ in steps)


def test_several_runs_are_lines_of_one_figure(result, tmp_path):
    other = make_run(tmp_path / "other", seed=5)
    figure = plot_best([result, other])
    names = [trace["name"] for trace in traces(figure)]
    assert names == [result.run_dir.name] * 2 + ["other"] * 2
    assert len({trace["line"]["color"] for trace in traces(figure)}) == 2
    assert layout(figure)["showlegend"]
    with pytest.raises(MihaError, match="There must be a run to plot"):
        plot_best([])


def test_runs_of_one_name_are_told_apart_by_their_folders(result, tmp_path):
    runs = [replace(result, run_dir=tmp_path / name / "mnist") for name in ("a", "b")]
    assert names_of(runs) == ["a/mnist", "b/mnist"]


def test_the_title_says_why_the_best_network_is_another_one(result, tmp_path, monkeypatch):
    monkeypatch.setattr(best, "NOISES", 0.0)
    assert "to take" not in title_of(plot_best(result))
    monkeypatch.setattr(best, "NOISES", 1e9)
    # All are within that noise: the last one is taken.
    last = result.log.trainings[-1]
    assert last.value > min(record.value for record in result.log.trainings)
    text = (
        f"the network to take, the latest of those within noise of the best, has {last.value:.4g}"
    )
    assert text in title_of(plot_best(result))
    assert "to take" not in title_of(plot_best([result, result]))
    monkeypatch.setattr(best, "NOISES", 0.0)
    other = make_run(tmp_path, judge=Judge("loss", "max"))
    assert "the network to take, the best in loss, has" in title_of(plot_best(other))
