"""The schedule: each hyperparameter of the main line, epoch by epoch."""

from __future__ import annotations

import json

import pytest
from drawn import edited, layout, traces, with_genes
from runs import make_run

from miha.results.trials import RunView
from miha.search.annealing import cosine
from miha.visualization import plot_schedule

NUMBERS = ("learning_rate", "batch_size")
"""The hyperparameters of the fake network's runs that are numbers, in the order of the figure."""


def test_numbers_that_never_changed_are_lanes_and_long_texts_stand_on_long_bars(long_run):
    same = long_run.log.trainings[0].genome

    def genome(number, record):
        name = "a_very_long_name_of_a_function" if number == 0 else "tanh"
        return {"genome": same.replace(activations=(("last", name),), dropout=(("drop", 0.5),))}

    drawn = traces(plot_schedule(edited(long_run, genome)))
    assert {trace["type"] for trace in drawn} == {"bar"}
    [half] = [t for t in drawn if t["name"] == "0.5"]
    assert half["text"] == ["0.5"]
    [short] = [t for t in drawn if t["name"].startswith("a_very")]
    [long] = [t for t in drawn if t["name"] == "tanh"]
    assert (short["text"], long["text"]) == ([""], ["tanh"])


def test_of_very_many_hyperparameters_those_that_changed_are_shown(result):
    def many(number, record):
        rates = {f"layer_{i}": 0.5 if i or number < 6 else 0.1 for i in range(40)}
        slots = {f"slot_{i}": "tanh" if i == 7 and number > 5 else "relu" for i in range(60)}
        return {"dropout": rates, "activations": slots}

    shown = layout(plot_schedule(with_genes(result, many)))
    words = json.dumps(shown)
    assert "dropout.layer_0" in words and "dropout.layer_1" not in words
    assert "activations.slot_7" in words and "activations.slot_8" not in words
    assert shown["height"] < 1500


def test_the_schedule_has_the_main_lines_hyperparameters(result):
    view, found = RunView.of(result), plot_schedule(result)
    lines = [trace for trace in traces(found) if trace["type"] != "bar"]
    changed = [name for name in NUMBERS if len({t.genes[name] for t in view.main_line}) > 1]
    assert "learning_rate" in changed
    for trace, name in zip(lines, changed, strict=True):
        told = {(x, y) for x, y in zip(trace["x"], trace["y"], strict=True)}
        assert {(t.end, t.genes[name]) for t in view.main_line[-1:]} <= told
        assert set(trace["y"]) == {t.genes[name] for t in view.main_line if t.logs}
    bars = [t for t in traces(found) if t["type"] == "bar"]
    lanes = layout(found)[f"yaxis{len(lines) + 1}"]["ticktext"]
    optimizer = lanes.index("optimizer")
    spans = sorted(
        (base, base + length, bar["name"])
        for bar in bars
        for lane, base, length in zip(bar["y"], bar["base"], bar["x"], strict=True)
        if lane == optimizer
    )
    assert spans[0][0] == 0 and spans[-1][1] == view.main_line[-1].end
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert spans[-1][2] == view.main_line[-1].genes["optimizer"]


def test_the_learning_rate_falls_where_it_was_annealed(tmp_path):
    """The genome's rate is the same to the end; what was trained with is less and less."""
    result = make_run(tmp_path, m=4, c=1, anneal=True)
    final = RunView.of(result).main_line[-1]
    rate = final.genes["learning_rate"]
    [line] = [t for t in traces(plot_schedule(result)) if "learning_rate" in t["hovertemplate"]]
    # Where each of the last epochs begins and ends; the first one has the whole rate.
    expected = [rate * factor for factor in cosine(4)[1:] for _ in range(2)]
    assert line["y"][-6:] == pytest.approx(expected)
    assert line["x"][-6::2] == [final.start + epoch for epoch in (1, 2, 3)]


def test_a_hyperparameter_that_was_not_there_for_a_while_leaves_a_gap(tmp_path):
    run = make_run(tmp_path, m=2, n=2, k=2, c=3)
    result = with_genes(run, lambda _, r: {} if r.cycle == 2 else {"weight_decay": 0.5})
    [line] = [t for t in traces(plot_schedule(result)) if "weight_decay" in t["hovertemplate"]]
    assert line["x"] == [0, 6, None, 10, 16]
    assert line["y"] == [0.5, 0.5, None, 0.5, 0.5]
