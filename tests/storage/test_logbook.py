"""The logbook: what the journal says of a run, and the two tables made of it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from fakes import GENOME, make_record

from miha.errors import JournalError
from miha.records import Change, Epoch, Task
from miha.storage.logbook import Logbook, write_tables
from miha.utils.json_values import plain

LINEAGE = [
    *("cycle", "clone", "change", "fitness", "selected", "archive"),
    *("gene", "value", "gain", "parent", "mate", "failure", "reason"),
]
REASONS = {0: "behind clone 1 by 0.1", 1: "fittest by 0.1"}


def first_cycle() -> Logbook:
    log = Logbook()
    log.add(make_record("initial", None, None, (0.9, 0.8, 0.7), age=3))
    log.add(make_record(values=(0.6, 0.5), age=5, fitness=-0.4))
    change = Change("batch_size", "batch size 4 -> 8")
    log.add(make_record(clone=1, values=(0.6, 0.4), age=5, fitness=-0.2, change=change))
    log.select(1, 1, REASONS)
    log.add(make_record("winner", 1, None, (0.3,), age=6))
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
    log.add(make_record("initial", None, None))
    history = log.history
    assert list(history.columns) == list(first_cycle().history.columns)
    assert history["cycle"].isna().all()


def test_a_value_that_only_some_epochs_have_is_missing_in_the_others():
    log = first_cycle()
    epoch = Epoch({"loss": 1.0, "extra": 2.0}, 0.1)
    log.add(log.trainings[0].replace(epochs=(epoch,)))
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
            "reason": "behind clone 1 by 0.1",
            "archive": "population/1_0_model.zip",
            "gene": "none",
            "value": 0.5,
            "gain": 0.0,
            "parent": "model/model_init.zip",
            "mate": None,
            "failure": None,
        },
        {
            "cycle": 1,
            "clone": 1,
            "change": "batch size 4 -> 8",
            "fitness": -0.2,
            "selected": True,
            "reason": "fittest by 0.1",
            "archive": "population/1_1_model.zip",
            "gene": "batch_size",
            "value": 0.4,
            "gain": pytest.approx(0.1),
            "parent": "model/model_init.zip",
            "mate": None,
            "failure": None,
        },
    ]


def test_a_gain_is_over_the_control_of_its_cycle_and_in_the_direction_of_the_value():
    log = first_cycle()
    log.mode = "max"
    other = Change("optimizer", "adam -> lion")
    log.add(make_record(cycle=2, clone=1, values=(0.2,), change=other))
    gains = log.lineage["gain"].tolist()
    assert gains[:2] == [0.0, pytest.approx(-0.1)]
    # Without a control there is nothing to gain on.
    assert math.isnan(gains[2])


def test_a_journal_of_an_earlier_version_gives_no_reason():
    log = Logbook.of([{"event": "selection", "cycle": 1, "clone": 0}])
    assert log.winners == {1: 0}
    assert log.reason(make_record()) == ""


def test_the_lineage_says_what_failed_and_whose_child_a_clone_is():
    log = first_cycle()
    log.add(make_record(cycle=2, clone=0))
    log.add(make_record(cycle=2, clone=1, failure="Traceback\n  line\nValueError: too large\n"))
    change = Change("crossover", "the mean of clones 1 and 0", mate="population/2_0_model.zip")
    log.add(make_record(cycle=2, clone=2, change=change, epochs=()))
    rows = log.lineage.iloc[2:]
    assert rows["failure"].fillna("").tolist() == ["", "ValueError: too large", ""]
    assert rows["mate"].fillna("").tolist() == ["", "", "population/2_0_model.zip"]


def test_the_lineage_without_clones_is_empty_with_all_its_columns():
    lineage = Logbook().lineage
    assert (len(lineage), list(lineage.columns)) == (0, LINEAGE)


def test_no_clone_is_selected_where_all_have_lost():
    log = Logbook()
    log.add(make_record(values=(math.nan,), fitness=-math.inf))
    log.select(1, None, {})
    assert log.lineage["selected"].tolist() == [False]


def test_the_clones_of_a_cycle_are_that_cycles_only_in_the_order_of_their_numbers():
    log = first_cycle()
    log.add(make_record(cycle=2, clone=1))
    log.add(make_record(cycle=2, clone=0))
    assert log.clones(1) == log.trainings[1:3]
    assert [(clone.cycle, clone.clone) for clone in log.clones(2)] == [(2, 0), (2, 1)]
    assert log.clones(3) == []


def test_the_selected_clone_is_known_and_the_network_itself_is_none():
    log = first_cycle()
    assert [log.is_selected(record) for record in log.trainings] == [False, False, True, False]
    log.select(1, None, {})
    assert not any(log.is_selected(record) for record in log.trainings)


def test_the_best_is_the_first_with_the_best_value():
    log = first_cycle()
    assert log.best("min") is log.trainings[3]
    assert log.best("max") is log.trainings[0]
    log.add(make_record("winner", 2, None, (0.3,)))
    assert log.best("min") is log.trainings[3]


def test_a_value_that_is_not_finite_is_best_only_where_there_is_no_other():
    lost = make_record("initial", None, None, (math.nan,))
    log = Logbook([lost, make_record(values=(-math.inf,)), make_record(clone=1, values=(0.5,))])
    assert log.best("min") is log.best("max") is log.trainings[2]
    assert Logbook([lost]).best("min") is lost
    assert Logbook().best("min") is Logbook().best_of_main_line("min") is None


def test_of_the_clones_only_the_selected_ones_are_of_the_main_line():
    log = first_cycle()
    log.add(make_record(cycle=2, clone=0, values=(0.1,)))
    log.add(make_record(cycle=2, clone=1, values=(0.2,)))
    assert log.best("min") is log.trainings[4]
    assert log.best_of_main_line("min") is log.trainings[3]
    log.select(2, 1, {})
    assert log.best_of_main_line("min") is log.trainings[5]


def test_the_last_training_is_the_networks_own_and_may_hold_a_better_one():
    log = first_cycle()
    assert log.last is log.resulting is log.trainings[3]
    log.add(make_record(cycle=2, clone=0))
    assert log.last is log.trainings[3]
    last = make_record("final", None, None, restored=log.trainings[2].archive)
    log.add(last)
    assert log.last is last
    assert log.resulting is log.trainings[2]
    assert Logbook().last is Logbook().resulting is None


@pytest.mark.parametrize(
    ("winners", "expected"),
    [
        ({1: None, 2: None, 3: None}, True),
        ({1: None, 2: 0, 3: None}, False),
        ({2: None, 3: None}, False),
        ({1: 0, 2: None, 3: None}, False),
    ],
)
def test_a_run_gives_up_after_three_cycles_in_which_all_failed(winners, expected):
    assert Logbook([], winners).has_given_up(3) is expected


def task_of(record, **changes):
    task = Task(
        phase=record.phase,
        cycle=record.cycle,
        clone=record.clone,
        epochs=len(record.epochs),
        genome=record.genome,
        change=record.change,
        archive=record.archive,
    )
    return replace(task, **changes)


def test_a_finished_training_is_found_in_its_place():
    log = first_cycle()
    for number, record in enumerate(log.trainings):
        assert log.find(number, task_of(record)) is record
    assert log.find(4, task_of(make_record("winner", 2, None))) is None


@pytest.mark.parametrize(
    "changes", [{"genome": GENOME.replace(batch_size=9)}, {"clone": 2}, {"cycle": 2}], ids=str
)
def test_another_training_in_its_place_is_refused(changes):
    log = first_cycle()
    with pytest.raises(JournalError, match=r"training 2 with .* must draw from its `rng` alone"):
        log.find(1, task_of(log.trainings[1], **changes))


def test_a_copy_does_not_grow():
    log = first_cycle()
    copy = log.copy()
    log.add(make_record(cycle=2, clone=0))
    log.select(2, 0, {})
    assert (len(copy.trainings), copy.winners) == (4, {1: 1})


def test_entries_say_what_happened():
    log = Logbook()
    record = make_record(fitness=0.5)
    assert log.add(record) == {"event": "training", **record.to_json()}
    assert log.select(1, 0, REASONS) == {
        "event": "selection",
        "cycle": 1,
        "clone": 0,
        "reasons": {"0": "behind clone 1 by 0.1", "1": "fittest by 0.1"},
    }
    assert log.rest(2, "why") == {"event": "rest", "cycle": 2, "reason": "why"}
    assert log.go_back(2, record, "worse") == {
        "event": "return",
        "cycle": 2,
        "to": record.archive,
        "reason": "worse",
    }
    assert log.stop("enough") == {"event": "stop", "reason": "enough"}
    assert log.end() == {"event": "end"}
    assert (log.trainings, log.winners) == ([record], {1: 0})
    assert (log.stopped, log.is_finished) == ("enough", True)


def test_a_logbook_can_be_made_again_of_the_journals_lines():
    log = Logbook()
    entries = [log.add(record) for record in first_cycle().trainings]
    entries += [log.select(1, 1, REASONS), log.rest(2, "why")]
    entries += [log.go_back(2, log.trainings[0], "worse"), log.stop("enough"), log.end()]
    entries.append({"event": "something new", "cycle": 1})
    again = Logbook.of([json.loads(json.dumps(plain(entry))) for entry in entries])
    assert again == log
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
    log.add(make_record(values=(math.nan,), fitness=-math.inf))
    write_tables(log, tmp_path)
    lineage = pd.read_csv(io.StringIO((tmp_path / "lineage.csv").read_text()))
    assert lineage["fitness"].tolist() == [-math.inf]
    assert lineage["value"].isna().tolist() == [True]


def test_the_tables_of_a_run_without_clones_can_be_written_and_read(tmp_path):
    log = Logbook()
    log.add(make_record("initial", None, None))
    write_tables(log, tmp_path)
    assert list(pd.read_csv(tmp_path / "lineage.csv").columns) == LINEAGE


@pytest.mark.parametrize("name", ["history", "lineage"])
def test_reading_a_table_changes_nothing(name):
    log = first_cycle()
    first = getattr(log, name)
    first.loc[:, "value" if name == "lineage" else "loss"] = 0.0
    assert getattr(log, name)["value" if name == "lineage" else "loss"].min() > 0
    assert log.trainings[0].genome == GENOME
