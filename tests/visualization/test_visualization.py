"""Figures: they show what the run's folder says, whatever the run is doing."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from runs import SCRIPT, failing, hostile, make_run, raced, rested, spoilt

pytest.importorskip("plotly")
from miha.results.story import Story

from miha import visualization as figures
from miha.errors import MihaError
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook
from miha.visualization.gain_axis import GainScale
from miha.visualization.scales import Scale
from miha.visualization.theme import log_ticks

NAMES = [name for name in figures.__all__ if name != "plot_importance"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), c=5, pop_size=5)


def traces(figure, name=None):
    return [t for t in json.loads(figure.to_json())["data"] if name in (None, t.get("name"))]


def texts(value):
    """Yield every text in a figure's JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def test_there_is_a_method_of_the_result_for_each_figure(result):
    for name in figures.__all__:
        if name != "plot_importance":
            method = getattr(result, name)()
            assert method.to_json() == getattr(figures, name)(result).to_json()
    assert result.plot_importance(seed=1).data


def test_the_main_line_of_the_history_is_that_of_the_journal(result):
    lines = traces(figures.plot_learning_history(result), "main line")
    story = Story.of(result)
    for line, name in zip(lines, ("val_loss", "loss"), strict=True):
        assert line["x"] == list(range(1, len(line["x"]) + 1))
        assert line["y"] == [value for trial in story.main_line for value in trial.curve(name)]


def test_the_history_tells_every_mutation_once_a_panel(result):
    told = [t for trace in traces(figures.plot_learning_history(result)) for t in texts(trace)]
    for clone in Story.of(result).clones:
        if not clone.selected:
            here = [t for t in told if f"cycle {clone.cycle}, clone {clone.clone}</b>" in t]
            assert len(here) == 2
            assert all(clone.change.replace(">", "&gt;") in text for text in here)


def test_a_clone_leaves_the_main_line_at_its_last_value(result):
    story = Story.of(result)
    values = {t.end: t.value for t in story.main_line if t.logs}
    branches = [
        t for t in traces(figures.plot_learning_history(result)) if t.get("hoverinfo") == "skip"
    ]
    starts = {}
    for trace in branches[: len(branches) // 2]:
        x, y = [None, *trace["x"]], [None, *trace["y"]]
        starts |= {x[i]: y[i] for i in range(1, len(x)) if x[i - 1] is None and x[i] is not None}
    assert starts and all(values[x] == pytest.approx(y) for x, y in starts.items())


def nodes(result):
    """Return column, rank and text of each point of the lineage."""
    drawn = [t for t in traces(figures.plot_lineage(result)) if t["type"] == "scatter"]
    return [
        (x, y, text)
        for trace in drawn
        if trace["mode"] == "markers"
        for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True)
    ]


def edges(result, place=slice(0, 2)):
    """Return the lines of the lineage, each from corner to corner."""
    found = []
    for trace in traces(figures.plot_lineage(result))[place]:
        corners = list(zip(trace["x"], trace["y"], strict=True))
        ends = [i for i, (x, _) in enumerate(corners) if x is None]
        found += [corners[a:b] for a, b in zip([0, *(e + 1 for e in ends)], ends, strict=False)]
    return found


def test_the_lineage_ranks_the_clones_of_each_cycle(result):
    story, points = Story.of(result), nodes(result)
    expected = [(0, 1), *((c, r) for c in range(1, 6) for r in range(1, 6))]
    assert sorted(p[:2] for p in points) == expected
    winners = {c.cycle: f"clone {c.clone}" for c in story.clones if c.selected}
    assert all(winners[x] in text for x, y, text in points if y == 1 and x)


def test_what_goes_on_or_joins_stands_behind_what_it_was_made_of(tmp_path):
    result = raced(tmp_path, c=6)
    story = Story.of(result)
    places = {text.split("</b>")[0]: (x, y) for x, y, text in nodes(result)}
    drawn = edges(result)
    named = {clone.archive: clone for clone in story.clones}
    later = [clone for clone in story.clones if clone.stage]
    assert any(len(clone.parents) == 2 for clone in later)
    for clone in later:
        here = places[f"<b>{clone.name}"]
        assert clone.cycle < here[0] < clone.cycle + 1
        for name in clone.parents:
            before = places[f"<b>{named[name].name}"]
            assert before[0] < here[0] and [before, here] in drawn


def test_the_main_line_of_the_lineage_passes_through_every_clone_of_its_way(tmp_path):
    result = raced(tmp_path)
    [*_, last] = [c for c in Story.of(result).clones if c.is_on_main_line]
    strong = edges(result, slice(1, 2))
    places = {text.split("</b>")[0]: (x, y) for x, y, text in nodes(result)}
    # From its beginning to the last winner, each line begins where the one before has ended.
    assert strong[0][0] == (0, 1) and strong[-1][-1] == places[f"<b>{last.name}"]
    ways = [way for way in strong if way[-1] != way[0]]
    ends = {way[-1] for way in ways} | {(0, 1)}
    assert all(way[0] in ends for way in ways)


def test_a_rest_is_a_point_on_the_main_line_of_the_lineage(tmp_path):
    result = rested(tmp_path)
    [alone] = traces(figures.plot_lineage(result), "the network alone")
    rests = [(trial.cycle, 1) for trial in Story.of(result).rests]
    assert rests and list(zip(alone["x"], alone["y"], strict=True)) == [(0, 1), *rests]
    strong = edges(result, slice(1, 2))
    assert all([(cycle - 1, 1), (cycle, 1)] in strong for cycle, _ in rests)


def test_where_the_run_went_back_the_main_line_begins_anew(tmp_path):
    result = spoilt(tmp_path)
    story = Story.of(result)
    [(epoch, base)] = story.returns.items()
    figure = figures.plot_learning_history(result)
    for line, name in zip(traces(figure, "main line"), ("val_loss", "loss"), strict=True):
        place = line["x"].index(None)
        assert (line["x"][place + 1], line["y"][place + 1]) == (epoch, base.curve(name)[-1])
        assert line["x"][place - 1] == epoch
    [arrow, _] = traces(figure, "back to the best network")
    assert arrow["x"] == [epoch] and base.name in arrow["text"][0]
    branch = [t for t in traces(figure) if t.get("hoverinfo") == "skip"]
    starts = [t["y"][i] for t in branch for i, x in enumerate(t["x"]) if x == epoch]
    assert base.value in starts and 100.0 not in starts


def test_a_cycle_has_one_border_however_often_its_clones_go_on(tmp_path):
    story = Story.of(result := raced(tmp_path))
    layout = json.loads(figures.plot_learning_history(result).to_json())["layout"]
    borders = layout["xaxis"]["minor"]["tickvals"]
    assert borders == story.starts and len(borders) == 3


def test_numbers_that_never_changed_are_lanes_and_long_texts_stand_on_long_bars(tmp_path):
    result = make_run(tmp_path, c=30)
    same = result._log.trainings[0]["genome"]
    for number, entry in enumerate(result._log.trainings):
        name = "a_very_long_name_of_a_function" if number == 0 else "tanh"
        genome = {**same, "activations": {"last": name}, "dropout": {"drop": 0.5}}
        result._log.trainings[number] = {**entry, "genome": genome}
    drawn = traces(figures.plot_schedule(result))
    assert {trace["type"] for trace in drawn} == {"bar"}
    [half] = [t for t in drawn if t["name"] == "0.5"]
    assert half["text"] == ["0.5"]
    [short] = [t for t in drawn if t["name"].startswith("a_very")]
    [long] = [t for t in drawn if t["name"] == "tanh"]
    assert (short["text"], long["text"]) == ([""], ["tanh"])


def test_of_very_many_hyperparameters_those_that_changed_are_shown(tmp_path):
    result = make_run(tmp_path, c=3)
    for number, entry in enumerate(result._log.trainings):
        many = {f"layer_{i}": 0.5 if i or number < 6 else 0.1 for i in range(40)}
        slots = {f"slot_{i}": "tanh" if i == 7 and number > 5 else "relu" for i in range(60)}
        genome = {**entry["genome"], "dropout": many, "activations": slots}
        result._log.trainings[number] = {**entry, "genome": genome}
    layout = json.loads(figures.plot_schedule(result).to_json())["layout"]
    words = json.dumps(layout)
    assert "dropout.layer_0" in words and "dropout.layer_1" not in words
    assert "activations.slot_7" in words and "activations.slot_8" not in words
    assert layout["height"] < 1500


def test_the_schedule_has_the_main_lines_hyperparameters(result):
    story, found = Story.of(result), figures.plot_schedule(result)
    rate, size = traces(found)[:2]
    for trace, name in ((rate, "learning_rate"), (size, "batch_size")):
        told = {(x, y) for x, y in zip(trace["x"], trace["y"], strict=True)}
        assert {(t.end, t.genes[name]) for t in story.main_line[-1:]} <= told
        assert set(trace["y"]) == {t.genes[name] for t in story.main_line if t.logs}
    bars = [t for t in traces(found) if t["type"] == "bar"]
    lanes = json.loads(found.to_json())["layout"]["yaxis3"]["ticktext"]
    optimizer = lanes.index("optimizer")
    spans = sorted(
        (base, base + length, bar["name"])
        for bar in bars
        for lane, base, length in zip(bar["y"], bar["base"], bar["x"], strict=True)
        if lane == optimizer
    )
    assert spans[0][0] == 0 and spans[-1][1] == story.main_line[-1].end
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert spans[-1][2] == story.main_line[-1].genes["optimizer"]


def test_a_hyperparameter_that_was_not_there_for_a_while_leaves_a_gap(tmp_path):
    result = make_run(tmp_path, m=2, n=2, k=2, c=3)
    for number, entry in enumerate(result._log.trainings):
        if entry["cycle"] != 2:
            genome = {**entry["genome"], "momentum": 0.5}
            result._log.trainings[number] = {**entry, "genome": genome}
    [line] = [t for t in traces(figures.plot_schedule(result)) if "momentum" in t["hovertemplate"]]
    assert line["x"] == [0, 6, None, 10, 16]
    assert line["y"] == [0.5, 0.5, None, 0.5, 0.5]


def test_what_paid_counts_every_clone_but_the_unchanged(result):
    layout = json.loads(figures.plot_what_paid(result).to_json())["layout"]
    clones = [clone for clone in Story.of(result).clones if clone.gene != "none"]
    for axis in ("yaxis", "yaxis2"):
        counts = [int(text.split("(")[-1].split(" tried")[0]) for text in layout[axis]["ticktext"]]
        assert sum(counts) == len(clones)
    assert any(text.startswith("learning_rate smaller") for text in layout["yaxis2"]["ticktext"])


def test_what_paid_tells_medians_and_intervals(result):
    [medians, _] = [t for t in traces(figures.plot_what_paid(result)) if "error_x" in t]
    story = Story.of(result)
    for text in medians["text"]:
        kind = text.removeprefix("<b>").split(" (")[0]
        gains = [c.gain for c in story.clones if c.gene == kind and c.gain is not None]
        assert f"median gain {np.median(gains):+.4g}" in text
        assert ("95 %" in text) == (len(gains) >= 3)


def test_parallel_coordinates_have_an_axis_for_each_gene_that_varied(result):
    [trace] = traces(figures.plot_parallel_coordinate(result))
    names = [dimension["label"] for dimension in trace["dimensions"]]
    assert names == [*Story.of(result).varied, "gain in fitness"]
    assert {len(dimension["values"]) for dimension in trace["dimensions"]} == {25}


def test_genes_can_be_named_and_unknown_ones_are_refused(result):
    [trace] = traces(figures.plot_parallel_coordinate(result, ["batch_size"]))
    assert [d["label"] for d in trace["dimensions"]] == ["batch_size", "gain in fitness"]
    assert figures.plot_pairs(result, ["optimizer", "batch_size"]).data
    with pytest.raises(MihaError, match=r"`genes` must name hyperparameters.*'speed'"):
        figures.plot_parallel_coordinate(result, ["speed"])
    with pytest.raises(MihaError, match="Two hyperparameters must"):
        figures.plot_pairs(result, ["optimizer"])


def test_importance_has_every_hyperparameter_though_some_clones_lack_it(tmp_path):
    from miha.visualization.importance import gene_importance

    result = make_run(tmp_path, c=6)
    for number, entry in enumerate(result._log.trainings):
        if number % 2 and entry["fitness"] is not None:
            momentum = 0.5 + 0.1 * (number % 5)
            genome = {**entry["genome"], "momentum": momentum}
            changed = {"genome": genome, "fitness": 100.0 + 10 * momentum}
            result._log.trainings[number] = {**entry, **changed}
    shares = gene_importance(result)
    assert max(shares, key=shares.get) == "momentum"
    assert set(shares) == set(Story.of(result).gene_names)


def test_a_clone_that_diverged_is_not_all_that_importance_explains(tmp_path):
    from miha.visualization.importance import gene_importance

    result = make_run(tmp_path, c=8, pop_size=5)
    before = gene_importance(result)
    clones = [i for i, e in enumerate(result._log.trainings) if e["phase"] == "clone"]
    entry = result._log.trainings[clones[1]]
    genome = {**entry["genome"], "optimizer": "sgd", "batch_size": 1}
    result._log.trainings[clones[1]] = {**entry, "fitness": -1e30, "genome": genome}
    after = gene_importance(result)
    assert max(after.values()) < 0.99 and len(after) == len(before)


def test_importance_sums_to_one_and_repeats(result):
    from miha.visualization.importance import gene_importance

    shares = gene_importance(result)
    assert set(shares) <= set(Story.of(result).gene_names)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == gene_importance(result)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lines", [0, 1, 2, 4, 5, 6, 9])
def test_a_run_at_any_moment_has_its_figures_or_says_what_is_missing(result, name, lines):
    entries = Journal(result.run_dir / "journal.jsonl").read()
    begun = replace(result, state="running", _log=Logbook.of(entries[:lines]))
    try:
        assert getattr(figures, name)(begun).to_json()
    except MihaError as error:
        assert "Received" in str(error)
        assert lines < 5 or name == "plot_pairs"


@pytest.mark.parametrize("make", [raced, rested, spoilt])
@pytest.mark.parametrize("name", NAMES)
def test_figures_are_made_of_races_rests_and_returns(tmp_path, name, make):
    assert getattr(figures, name)(make(tmp_path)).to_json()


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_made_where_clones_failed(tmp_path, name):
    figure = getattr(figures, name)(make_run(tmp_path, failing("batch_size"), c=4, pop_size=5))
    assert "Infinity" not in figure.to_json() and "NaN" not in figure.to_json()


def test_new_genes_are_shown_without_being_known(tmp_path):
    result = make_run(tmp_path, c=3)
    for number, entry in enumerate(result._log.trainings):
        more = {"dropout": {"drop": 0.1 * (number % 3)}, "loss": "mse" if number % 2 else "mae"}
        result._log.trainings[number] = {**entry, "genome": {**entry["genome"], **more}}
    for name in NAMES:
        assert getattr(figures, name)(result).data
    [trace] = traces(figures.plot_parallel_coordinate(result))
    assert {"dropout.drop", "loss"} <= {dimension["label"] for dimension in trace["dimensions"]}
    axis = json.loads(figures.plot_schedule(result).to_json())["layout"]
    assert "dropout.drop" in json.dumps(axis)


def test_a_gene_that_some_genomes_lack_has_a_place_below_the_others(tmp_path):
    result = make_run(tmp_path, c=3)
    for number, entry in enumerate(result._log.trainings):
        if number % 2:
            genome = {**entry["genome"], "momentum": 0.5 + 0.1 * (number % 3)}
            result._log.trainings[number] = {**entry, "genome": genome}
    [trace] = traces(figures.plot_parallel_coordinate(result))
    [momentum] = [d for d in trace["dimensions"] if d["label"] == "momentum"]
    assert momentum["ticktext"][0] == "–"
    assert min(momentum["values"]) == momentum["tickvals"][0] < momentum["tickvals"][1]
    for name in NAMES:
        assert getattr(figures, name)(result).to_json()


@pytest.mark.parametrize("name", NAMES)
def test_text_of_the_run_is_escaped_wherever_plotly_takes_tags(tmp_path, name):
    result = make_run(tmp_path, hostile(), c=3, pop_size=6)
    figure = json.loads(getattr(figures, name)(result).to_json())
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


def contrast(colour, ground):
    def light(text):
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(colour), light(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_white_and_on_black():
    from miha.visualization import theme

    for colour in (theme.MAIN, theme.VERMILION, theme.GREY):
        assert contrast(colour, "#ffffff") > 3 and contrast(colour, "#14171a") > 3
    for colour in theme.COLOURS:  # Markers, which have shapes as well.
        assert contrast(colour, "#ffffff") > 2 and contrast(colour, "#14171a") > 3


def test_a_gain_scale_has_a_place_for_all_gains_in_their_order():
    gains = [-3.0, -0.001, 0.0, 0.0005, 0.002, 200.0, None]
    scale = GainScale.of(gains)
    places = [scale.place(gain) for gain in gains if gain is not None]
    low, high = scale.bounds
    assert places == sorted(places) and low < places[0] and places[-1] < high
    ticks, words = scale.ticks()
    assert ticks == sorted(ticks) and words[ticks.index(0.0)] == "0"
    assert min(b - a for a, b in zip(ticks, ticks[1:], strict=False)) >= 0.049 * (high - low)
    assert GainScale.of([]).bounds[0] < 0 < GainScale.of([]).bounds[1]


def test_a_gain_out_of_all_proportion_lies_at_the_end_of_the_axis():
    scale = GainScale.of([-1e30, -0.02, 0.0, 0.01, 0.03])
    ticks, words = scale.ticks()
    assert words[0].startswith("≤ -") and ticks[0] == scale.place(-1e30) == scale.place(-1e20)
    assert scale.place(-0.02) > scale.place(-1e30) / 10  # The others are not squeezed together.
    most = GainScale.of([1e-9] * 8 + [0.5, 1.0, -2.0])  # Next to nothing, most of them.
    assert most.place(0.5) < most.place(1.0)


def test_scales_place_numbers_logarithms_and_words():
    assert Scale.of([1, 2, 5]).place(2) == 2
    assert Scale.of([0.001, 0.1]).place(0.01) == pytest.approx(-2)
    words = Scale.of(["relu", "elu", None])
    assert [words.place(v) for v in ("elu", "relu", None)] == [0, 1, 2]
    assert Scale.of([1, None]).place(None) is None
    assert Scale.of([True, False]).ticks() == ([0.0, 1.0], ["False", "True"])


@pytest.mark.parametrize("low, high", [(1e-5, 1.0), (0.3, 0.7), (2.0, 2.1), (1.0, 1e30)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in ticks)


def test_without_plotly_the_message_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[plot\]'"):
        figures.plot_lineage(result)


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    from fakes import FakeTrainer

    script = {4: {"loss": math.nan, "val_loss": math.inf}}
    result = make_run(tmp_path, FakeTrainer(script=script))
    with_gap = traces(figures.plot_learning_history(result), "main line")[0]
    assert None in with_gap["y"]
