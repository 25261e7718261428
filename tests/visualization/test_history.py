"""The learning history: the main line as in the journal, and where the clones left it."""

from __future__ import annotations

import math

import pytest
from drawn import edited, layout, texts, traces
from fakes import FakeTrainer
from runs import crossed, make_run

from miha.errors import MihaError
from miha.records import Change
from miha.results.trials import RunView
from miha.visualization import plot_learning_history, theme
from miha.visualization.history import reads_better_as_log


def test_the_main_line_of_the_history_is_that_of_the_journal(result):
    figure = plot_learning_history(result)
    view = RunView.of(result)
    for name, label, is_clone in (
        ("val_loss", "main line", False),
        ("val_loss", "epochs of selected clones", True),
        ("loss", "main line", False),
    ):
        line = traces(figure, label)[0 if name == "val_loss" else 1]
        expected = {
            epoch: value
            for trial in view.main_line
            for epoch, value in enumerate(trial.curve(name), trial.start + 1)
            if trial.is_clone == is_clone
        }
        drawn = {x: y for x, y in zip(line["x"], line["y"], strict=True) if x is not None}
        # Each part begins where the one before has ended.
        assert {x: y for x, y in drawn.items() if x in expected} == expected
        assert (line["line"]["dash"] == "dot") == is_clone


def test_a_metric_has_panels_of_its_own(result):
    figure = plot_learning_history(result, ["val_accuracy"])
    [line] = traces(figure, "main line")
    final = RunView.of(result).main_line[-1]
    values = [y for y in line["y"] if y is not None]
    assert values[-1] == final.curve("val_accuracy")[-1]
    assert layout(figure)["yaxis"]["title"]["text"] == "val_accuracy"
    with pytest.raises(MihaError, match=r"must name values that were logged: \['val_loss', .*acc'"):
        plot_learning_history(result, ["acc"])


def test_the_best_network_and_the_selected_clones_are_marked(result):
    figure = plot_learning_history(result)
    view = RunView.of(result)
    [star, _] = traces(figure, "best network")
    assert (star["x"], star["y"]) == ([view.best_network.end], [view.best_network.value])
    [ring, _] = traces(figure, "selected")
    assert ring["x"] == [clone.end for clone in view.winners.values()]
    kinds = {theme.symbol(kind) for kind in (*view.gene_kinds, "none")}
    assert {star["marker"]["symbol"], ring["marker"]["symbol"]}.isdisjoint(kinds)


def test_where_a_restart_was_selected_the_line_begins_again(result):
    winner = RunView.of(result).winners[2]
    restart = Change("restart", "restart", "restart")

    def edit(number, record):
        return {"change": restart} if record is winner.record else {}

    view = RunView.of(edited(result, edit))
    line = traces(plot_learning_history(edited(result, edit)), "epochs of selected clones")[0]
    begins = [x for x, before in zip(line["x"], [None, *line["x"]], strict=False) if before is None]
    assert winner.start + 1 in begins and winner.start not in begins
    assert view.winners[1].start in begins


@pytest.mark.parametrize(
    "values, is_log",
    [
        ([2.3, 0.4, 0.3, 0.28, 0.27], True),  # Falls by a factor, then by little.
        ([100.0, 50.0, 1.0], True),
        ([1.0, 0.9, 0.8, 0.7], False),
        ([0.1, 0.8, 0.9, 0.95, 0.96], False),
    ],
)
def test_an_axis_is_logarithmic_where_that_reads_better(values, is_log):
    assert reads_better_as_log(values) == is_log


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
    lines = traces(figure, "epochs of selected clones")
    for line, name in zip(lines, ("val_loss", "loss"), strict=True):
        points = list(zip(line["x"], line["y"], strict=True))
        assert (epoch, base.curve(name)[-1]) in points
        assert line["x"][points.index((epoch, base.curve(name)[-1])) - 1] is None
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
    assert set(RunView.of(result).gene_kinds) <= {*named, "selected"}


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    script = {4: {"loss": math.nan, "val_loss": math.inf}}
    result = make_run(tmp_path, FakeTrainer(script=script))
    with_gap = traces(plot_learning_history(result), "main line")[0]
    assert any(
        y is None and x is not None for x, y in zip(with_gap["x"], with_gap["y"], strict=True)
    )


def test_a_child_of_two_clones_that_won_has_a_ring_where_it_was_made(tmp_path):
    result = crossed(tmp_path, c=1)
    child = RunView.of(result).winners[1]
    assert child.gene == "crossover" and child.logs == []
    [first, second] = traces(plot_learning_history(result), "selected")
    assert (first["x"], first["y"]) == ([child.end], [child.value])
    assert second["y"] == [None]  # Its training loss is not known.
