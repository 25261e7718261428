"""The learning history: the main line as in the journal, and where the clones left it."""

from __future__ import annotations

import math

import pytest
from drawn import layout, texts, traces
from fakes import FakeTrainer
from runs import crossed, make_run

from miha.results.trials import RunView
from miha.visualization import plot_learning_history


def test_the_main_line_of_the_history_is_that_of_the_journal(result):
    lines = traces(plot_learning_history(result), "main line")
    view = RunView.of(result)
    for line, name in zip(lines, ("val_loss", "loss"), strict=True):
        assert line["x"] == list(range(1, len(line["x"]) + 1))
        assert line["y"] == [value for trial in view.main_line for value in trial.curve(name)]


def test_the_history_tells_every_mutation_once_a_panel(result):
    told = [t for trace in traces(plot_learning_history(result)) for t in texts(trace)]
    for clone in RunView.of(result).clones:
        if not clone.selected:
            here = [t for t in told if f"cycle {clone.cycle}, clone {clone.clone}</b>" in t]
            assert len(here) == 2
            assert all(clone.change.replace(">", "&gt;") in text for text in here)


def test_a_clone_leaves_the_main_line_at_its_last_value(result):
    view = RunView.of(result)
    values = {t.end: t.value for t in view.main_line if t.logs}
    branches = [t for t in traces(plot_learning_history(result)) if t.get("hoverinfo") == "skip"]
    starts = {}
    for trace in branches[: len(branches) // 2]:
        x, y = [None, *trace["x"]], [None, *trace["y"]]
        starts |= {x[i]: y[i] for i in range(1, len(x)) if x[i - 1] is None and x[i] is not None}
    assert starts and all(values[x] == pytest.approx(y) for x, y in starts.items())


def test_where_the_run_went_back_the_main_line_continues_from_the_older_network(spoilt_run):
    view = RunView.of(spoilt_run)
    [(epoch, base)] = view.returns.items()
    figure = plot_learning_history(spoilt_run)
    for line, name in zip(traces(figure, "main line"), ("val_loss", "loss"), strict=True):
        place = line["x"].index(None)
        assert (line["x"][place + 1], line["y"][place + 1]) == (epoch, base.curve(name)[-1])
        assert line["x"][place - 1] == epoch
    [arrow, _] = traces(figure, "back to the best network")
    assert arrow["x"] == [epoch] and base.name in arrow["text"][0]
    branch = [t for t in traces(figure) if t.get("hoverinfo") == "skip"]
    starts = [t["y"][i] for t in branch for i, x in enumerate(t["x"]) if x == epoch]
    assert base.value in starts and 100.0 not in starts


def test_each_cycle_has_a_border(result):
    borders = layout(plot_learning_history(result))["xaxis"]["minor"]["tickvals"]
    assert borders == RunView.of(result).starts and len(borders) == 5


def test_each_kind_of_mutation_is_once_in_the_legend(result):
    drawn = traces(plot_learning_history(result))
    named = [t["name"] for t in drawn if t.get("showlegend", True)]
    assert len(named) == len(set(named)) and "main line" in named
    assert set(RunView.of(result).gene_kinds) <= {*named, "selected mutation"}


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    script = {4: {"loss": math.nan, "val_loss": math.inf}}
    result = make_run(tmp_path, FakeTrainer(script=script))
    with_gap = traces(plot_learning_history(result), "main line")[0]
    assert None in with_gap["y"]


def test_a_child_of_two_clones_that_won_is_a_triangle_where_it_was_made(tmp_path):
    result = crossed(tmp_path, c=1)
    child = RunView.of(result).winners[1]
    assert child.gene == "crossover" and child.logs == []
    [first, second] = traces(plot_learning_history(result), "selected mutation")
    assert (first["x"], first["y"]) == ([child.end], [child.value])
    assert second["y"] == [None]  # Its training loss is not known.
