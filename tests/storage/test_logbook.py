"""The logbook: the journal's entries, and the two tables made of them."""

from __future__ import annotations

import io
import json
import math

import pandas as pd
import pytest
from fakes import GENOME, make_network

from miha.records import Change
from miha.storage.logbook import Logbook, write_tables
from miha.utils.json_values import plain

LINEAGE = [
    *("cycle", "clone", "change", "fitness", "selected", "archive"),
    *("gene", "value", "parent", "mate", "failure", "late"),
]


def first_cycle() -> Logbook:
    log = Logbook()
    log.add(make_network("initial", None, None, (0.9, 0.8, 0.7), age=3))
    log.add(make_network(values=(0.6, 0.5), age=5, fitness=-0.4))
    change = Change("batch_size", "batch size 4 -> 8")
    log.add(make_network(clone=1, values=(0.6, 0.4), age=5, fitness=-0.2, change=change))
    log.select(1, 1)
    log.add(make_network("winner", 1, None, (0.3,), age=6))
    return log


def test_the_history_has_one_row_for_each_epoch():
    history = first_cycle().history
    assert list(history.columns) == [
        "phase",
        "cycle",
        "clone",
        "epoch",
        "loss",
        "val_loss",
        "seconds",
    ]
    assert history["phase"].tolist() == ["initial"] * 3 + ["clone"] * 4 + ["winner"]
    assert history["val_loss"].tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.6, 0.4, 0.3]
    assert history["loss"].tolist() == [2 * value for value in history["val_loss"]]


def test_the_history_counts_the_epochs_of_each_network_since_the_start():
    assert first_cycle().history["epoch"].tolist() == [1, 2, 3, 4, 5, 4, 5, 6]


def test_cycles_and_clones_stay_whole_numbers_beside_missing_ones():
    history = first_cycle().history
    assert [str(history[key].dtype) for key in ("cycle", "clone")] == ["Int64", "Int64"]
    assert history["cycle"].isna().tolist() == [True] * 3 + [False] * 5
    assert history["clone"].tolist()[3:7] == [0, 0, 1, 1]
    assert history["clone"].isna().tolist()[7]


def test_the_history_of_a_run_without_cycles_has_the_same_columns():
    log = Logbook()
    log.add(make_network("initial", None, None))
    history = log.history
    assert list(history.columns) == list(first_cycle().history.columns)
    assert history["cycle"].isna().all()


def test_a_value_that_only_some_epochs_have_is_missing_in_the_others():
    log = first_cycle()
    entry = dict(log.trainings[0], epochs=[{"loss": 1.0, "extra": 2.0, "seconds": 0.1}])
    log.trainings.append(entry)
    assert log.history["extra"].isna().sum() == len(log.history) - 1
    assert list(log.history.columns)[-1] == "seconds"


def test_the_lineage_has_one_row_for_each_clone():
    lineage = first_cycle().lineage
    assert list(lineage.columns) == LINEAGE
    assert lineage.to_dict("records") == [
        {
            "cycle": 1,
            "clone": 0,
            "change": "unchanged",
            "fitness": -0.4,
            "selected": False,
            "archive": "population/1_0_model.zip",
            "gene": "none",
            "value": 0.5,
            "parent": "model/model_init.zip",
            "mate": None,
            "failure": None,
            "late": False,
        },
        {
            "cycle": 1,
            "clone": 1,
            "change": "batch size 4 -> 8",
            "fitness": -0.2,
            "selected": True,
            "archive": "population/1_1_model.zip",
            "gene": "batch_size",
            "value": 0.4,
            "parent": "model/model_init.zip",
            "mate": None,
            "failure": None,
            "late": False,
        },
    ]


def test_the_lineage_without_clones_is_empty_with_all_its_columns():
    lineage = Logbook().lineage
    assert (len(lineage), list(lineage.columns)) == (0, LINEAGE)


def test_no_clone_is_selected_where_all_have_lost():
    log = Logbook()
    log.add(make_network(values=(math.nan,), fitness=-math.inf))
    log.select(1, None)
    assert log.lineage["selected"].tolist() == [False]


def test_the_rows_of_a_cycle_are_that_cycles_only():
    log = first_cycle()
    log.add(make_network(cycle=2, clone=0))
    assert [row["cycle"] for row in log.clones(1)] == [1, 1]
    assert [row["selected"] for row in log.clones(1)] == [False, True]
    assert [row["cycle"] for row in log.clones(2)] == [2]


def test_a_copy_does_not_grow():
    log = first_cycle()
    copy = log.copy()
    log.add(make_network(cycle=2, clone=0))
    log.select(2, 0)
    assert (len(copy.trainings), copy.winners) == (4, {1: 1})


def test_entries_say_what_happened():
    log = Logbook()
    network = make_network(fitness=0.5)
    assert log.add(network) == {"event": "training", **network.describe()}
    assert log.select(1, 0) == {"event": "selection", "cycle": 1, "clone": 0}


def test_a_logbook_can_be_made_again_of_the_journals_lines():
    log = first_cycle()
    entries = [json.loads(json.dumps(plain(entry))) for entry in log.trainings]
    again = Logbook(entries, dict(log.winners))
    pd.testing.assert_frame_equal(again.history, log.history)
    pd.testing.assert_frame_equal(again.lineage, log.lineage)


def test_the_tables_are_written_as_they_are(tmp_path):
    log = first_cycle()
    write_tables(log, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "lineage.csv"]
    for name in ("history", "lineage"):
        expected = getattr(log, name).replace({None: math.nan})
        read = pd.read_csv(tmp_path / f"{name}.csv", dtype={"cycle": "Int64", "clone": "Int64"})
        pd.testing.assert_frame_equal(read, expected, check_dtype=False)


def test_a_table_says_where_a_value_is_not_finite(tmp_path):
    log = Logbook()
    log.add(make_network(values=(math.nan,), fitness=-math.inf))
    write_tables(log, tmp_path)
    lineage = pd.read_csv(io.StringIO((tmp_path / "lineage.csv").read_text()))
    assert lineage["fitness"].tolist() == [-math.inf]
    assert lineage["value"].isna().tolist() == [True]


def test_the_tables_of_a_run_without_clones_can_be_written_and_read(tmp_path):
    log = Logbook()
    log.add(make_network("initial", None, None))
    write_tables(log, tmp_path)
    assert list(pd.read_csv(tmp_path / "lineage.csv").columns) == LINEAGE


@pytest.mark.parametrize("name", ["history", "lineage"])
def test_reading_a_table_changes_nothing(name):
    log = first_cycle()
    first = getattr(log, name)
    first.loc[:, "value" if name == "lineage" else "loss"] = 0.0
    assert getattr(log, name)["value" if name == "lineage" else "loss"].min() > 0
    assert log.trainings[0]["genome"] == GENOME.to_dict()
