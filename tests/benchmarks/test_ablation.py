"""The ablation: its cells train alike, and its tables say what the cells do."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
from paths import ROOT

from miha.records import Schedule

SCRIPT = ROOT / "benchmarks" / "ablation.py"
DOCS = ROOT / "docs"
CELLS = DOCS / "results"
WHOLE = ("plain", "cosine", "2021")


@pytest.fixture(scope="module")
def ablation():
    # A script finds its siblings in its own folder.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module("ablation")
    for name in ("ablation", "baselines", "tasks"):
        del sys.modules[name]


def digits(folder):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 784)).astype("float32"), rng.integers(10, size=60)
    return (x[:32], y[:32]), (x[32:46], y[32:46]), (x[46:], y[46:])


@pytest.fixture
def run(ablation, monkeypatch, tmp_path, capsys):
    toy = replace(ablation.EXPERIMENTS["mnist"], load=digits, schedule=Schedule(1, 1, 1, 1, 3))
    monkeypatch.setattr(ablation, "EXPERIMENTS", {"mnist": toy})

    def run(*variants):
        out = tmp_path / "cells.jsonl"
        command = ["ablation.py", "--data", str(tmp_path), "--out", str(out)]
        command += ["--starts", "random", "--random", "2", "--variants", *variants]
        monkeypatch.setattr("sys.argv", command)
        ablation.main()
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        return rows, capsys.readouterr().out

    return run


@pytest.mark.slow
def test_an_ablation_goes_on_where_it_stopped_and_every_cell_is_told(run):
    before, _ = run("MIHA")
    rows, told = run("cosine", "MIHA")
    assert rows[: len(before)] == before
    places = {(row["variant"], row["seed"]) for row in rows}
    assert len(rows) == 4
    assert places == {(name, seed) for name in ("MIHA", "cosine") for seed in (0, 1)}
    assert all(0 <= row["last"] <= 1 and 0 <= row["best"] <= 1 for row in rows)
    assert told.count("| mnist | random | MIHA |") == told.count("| mnist | random | cosine |") == 1


def test_all_variants_of_a_cell_begin_with_the_same_network(ablation):
    experiment, genome = ablation.EXPERIMENTS["mnist"], ablation.start_of("random", 3)
    plain = ablation.build(experiment, ablation.Recipe(genome), 3)
    # One of each kind of change: all others are of the same kinds.
    kinds = [
        "linear ema",
        "fixed noise 0.3",
        "fixed dropout 0.2",
        "fixed augmentation + smoothing 0.1",
    ]
    for name in kinds:
        recipe = ablation.Recipe(genome, **ablation.BASELINES[name])
        other = ablation.build(experiment, recipe, 3, 9, 10)
        for one, another in zip(plain.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, another)
    assert ablation.start_of("random", 3) == genome != ablation.start_of("random", 4)


def cells(task, start, **values):
    names = {"two": "without rests"}
    return [
        {"task": task, "start": start, "variant": names.get(name, name), "seed": seed}
        | {"last": value, "best": value}
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]


def test_a_gain_is_paired_and_positive_where_miha_is_better(ablation):
    rows = cells("lst", "good", MIHA=[0.1, 0.3], plain=[0.2, 0.5], two=[0.1, 0.2])
    rows += cells("mnist", "good", MIHA=[0.9, 0.8], plain=[0.8, 0.7])
    told = ablation.table(rows)
    assert (
        "| lst | good | plain | 0.3500 ± 0.1500 | 0.3500 ± 0.1500 | +0.1500 ± 0.0500 | 2 |" in told
    )
    assert "| lst | good | without rests | 0.1500 ± 0.0500 |" in told
    assert "| -0.0500 ± 0.0500 | 2 |" in told
    assert (
        "| mnist | good | plain | 0.7500 ± 0.0500 | 0.7500 ± 0.0500 | +0.1000 ± 0.0000 | 2 |"
        in told
    )


def test_gains_have_a_row_a_variant_and_a_column_a_task_and_start(ablation):
    rows = cells("lst", "good", MIHA=[0.1, 0.3], plain=[0.2, 0.5])
    rows += cells("mnist", "poor", MIHA=[0.9, 0.8], two=[0.8, 0.9])
    head, _, plain, two = ablation.gains(rows).splitlines()
    assert head == "| variant | lst, good | mnist, poor |"
    assert plain == "| plain | +0.1500 ± 0.0500 (2) |  |"
    assert two == "| without rests |  | +0.0000 ± 0.1000 (2) |"


def test_a_regret_is_the_distance_to_what_miha_reaches_from_the_good_start(ablation):
    rows = cells("mnist", "good", MIHA=[0.9, 0.8], plain=[0.7, 0.7])
    rows += cells("mnist", "random", MIHA=[0.8, 0.7], plain=[0.5, 0.6], cosine=[0.6])
    told = ablation.regrets(rows)
    assert "| mnist | 0.8500 | MIHA | 0.1000 | 0.3000 | 33.3% | 2 |" in told
    # Of plain's starts, those that the variant has, too.
    assert "| mnist | 0.8500 | cosine | 0.2500 | 0.3500 | 71.4% | 1 |" in told


def test_a_regret_of_a_loss_is_what_it_is_larger_by(ablation):
    rows = cells("lst", "good", MIHA=[0.2]) + cells("lst", "random", MIHA=[0.1], plain=[0.4])
    assert "| lst | 0.2000 | MIHA | -0.1000 | 0.2000 | -50.0% | 1 |" in ablation.regrets(rows)


def test_without_the_good_start_there_is_no_regret(ablation):
    rows = cells("mnist", "random", MIHA=[0.8], plain=[0.4])
    assert len(ablation.regrets(rows).splitlines()) == 2
    assert ablation.start_of("random-1", 0) == ablation.start_of("random", 1)
    assert ablation.start_of("random-1", 5) != ablation.start_of("random", 5)


def test_what_to_reach_is_the_best_fixed_regularisation_of_the_good_start(ablation):
    rows = cells(
        "mnist",
        "good",
        **{"MIHA": [0.86, 0.88], "cosine": [0.8, 0.8], "cosine ema": [0.81, 0.85]},
        **{"fixed noise 0.1": [0.9, 0.9], "fixed noise 0.3": [0.88, 0.88]},
        **{"fixed noise 0.5": [0.99]},
    )
    rows += cells("mnist", "random", **{"MIHA": [0.85], "linear ema": [0.7]})
    rows += cells("lst", "good", MIHA=[0.1, 0.2])
    _, _, good, drawn, lst, mean = ablation.reach(rows).splitlines()
    assert good == (
        "| mnist | good | 0.8700 ± 0.0100 | 0.8300 ± 0.0200 |  | 0.9000 ± 0.0000 (noise 0.1) "
        "| +0.0400 ± 0.0100 | 70% | 2 |"
    )
    assert "| 0.7000 ± nan | 0.9000 ± 0.0000 (noise 0.1) |  | 50% | 1 |" in drawn
    assert lst == "| lst | good | 0.1500 ± 0.0500 |  |  |  |  |  | 2 |"
    assert mean == "| classification | good |  |  |  |  |  | 70% |  |"


def test_a_variant_is_left_out_where_a_task_has_no_use_for_it(ablation):
    fixed = {
        task: [name for name in ablation.FIXED if ablation.has_use(task, "good", name)]
        for task in ablation.EXPERIMENTS
    }
    assert fixed["lst"] == [f"fixed noise {n}" for n in (0.1, 0.3, 0.5)] + [
        "fixed weight decay 0.02"
    ]
    assert fixed["mnist"] == fixed["cifar-2k"] == list(ablation.FIXED)
    for task in ("segment", "vowels"):
        assert set(ablation.FIXED) - set(fixed[task]) == {
            "fixed augmentation",
            "fixed augmentation + smoothing 0.1",
        }
    assert not ablation.has_use("mnist", "random", "fixed noise 0.1")
    assert ablation.has_use("mnist", "random", "cosine ema")


def test_a_command_names_groups_of_variants_and_the_first_seed(ablation):
    assert ablation.chosen(["MIHA", "fixed", "MIHA"]) == ["MIHA", *ablation.FIXED]
    args = Namespace(
        seeds=2, random=1, first_seed=50, starts=["good", "random"], tasks=["mnist"],
        variants=["MIHA"],
    )  # fmt: skip
    done = cells("mnist", "good", MIHA=[0.1])
    places = [(start, seed) for _, start, _, seed in ablation.missing(args, done)]
    assert places == [("good", 50), ("random", 50), ("good", 51)]


@pytest.mark.slow
def test_every_baseline_trains_and_optuna_trains_no_more_epochs(run):
    names = ["cosine ema", "linear ema", "optuna", "optuna then train"]
    rows, _ = run(*names)
    assert [row["variant"] for row in rows if row["seed"] == 0] == names
    assert all(0 <= row["last"] <= 1 for row in rows)


CLOSING, EARLIER, OLD = "ablation.jsonl", "ablation-earlier.jsonl", "ablation-0.3.0.jsonl"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for name in (CLOSING, EARLIER) for kind in ("table", "regrets", "reach")),
        # What each part is worth was measured with another version.
        ("gains", OLD),
    ],
)
def test_the_published_tables_are_what_their_cells_say(ablation, kind, name):
    rows = [json.loads(line) for line in (CELLS / name).read_text().splitlines()]
    assert len({(r["task"], r["start"], r["variant"], r["seed"]) for r in rows}) == len(rows)
    if kind == "gains":
        found = ablation.gains([row for row in rows if row["variant"] not in WHOLE])
    elif kind == "reach":
        others = [name for name in ablation.FIXED if "augmentation" not in name]
        found = ablation.reach(rows, others)
    else:
        found = getattr(ablation, kind)(rows)
    told = (DOCS / "ablation.md").read_text().splitlines()
    lines = found.splitlines()
    assert len(lines) > 6 and not [line for line in lines if line not in told]
