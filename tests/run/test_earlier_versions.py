"""Runs of version 0.3.0, which lie in tests/fixtures: they are read, and do not go on."""

from __future__ import annotations

import json
import math
import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import make_loop

import miha
from miha.errors import RunExistsError
from miha.records import Genome
from miha.search.ancestry import main_line
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

RUNS = Path(__file__).parents[1] / "fixtures" / "run_0_3_0"
NAMES = pytest.mark.parametrize("name", ["plain", "joined"])


def read_log(name) -> Logbook:
    return Logbook.of(Journal(RUNS / name / "journal.jsonl").read())


def table(name, what) -> pd.DataFrame:
    """Return a table that version 0.3.0 wrote."""
    columns = {"cycle": "Int64", "clone": "Int64"}
    return pd.read_csv(RUNS / name / f"{what}.csv", dtype=columns)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@NAMES
def test_the_history_is_that_of_its_table(name):
    pd.testing.assert_frame_equal(
        read_log(name).history, table(name, "history"), check_dtype=False, check_exact=True
    )


@NAMES
def test_the_lineage_is_that_of_its_table(name):
    found = read_log(name).lineage
    # What version 0.3.0 did not write.
    assert (found.pop("reason") == "").all()
    assert found.pop("gain").notna().any()
    expected = table(name, "lineage")
    assert not expected.pop("late").any()
    found = found.fillna({"mate": math.nan, "failure": math.nan})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


@NAMES
def test_winners_genomes_and_the_end_are_read(name):
    log = read_log(name)
    lineage = table(name, "lineage")
    selected = lineage[lineage["selected"]]
    assert log.winners == dict(zip(selected["cycle"], selected["clone"], strict=True))
    assert log.is_finished and log.stopped is None
    entries = [e for e in Journal(RUNS / name / "journal.jsonl").read() if e["event"] == "training"]
    # Momentum was a gene of that version, and is none any more.
    genes = [{k: v for k, v in e["genome"].items() if k != "momentum"} for e in entries]
    assert [record.genome.to_dict() for record in log.trainings] == genes
    assert [record.change.text for record in log.trainings] == [
        e["change"]["text"] for e in entries
    ]


@NAMES
def test_the_best_value_is_that_of_its_tables(name):
    history = table(name, "history")
    last_epochs = history.groupby(["phase", "cycle", "clone"], dropna=False)["val_loss"].last()
    assert read_log(name).best("min").value == last_epochs.min()


def test_the_kinds_of_its_clones_are_known():
    by_gene = {record.change.gene: record.change for record in read_log("joined").trainings}
    kinds = {gene: change.kind for gene, change in by_gene.items()}
    assert (kinds["none"], kinds["restart"], kinds["soup"]) == ("unchanged", "restart", "crossover")
    assert kinds["batch_size"] == kinds["optimizer"] == kinds["dropout"] == "mutation"
    assert by_gene["soup"].mate == "population/1_6_model.zip"


def test_the_main_line_goes_through_clones_that_went_on():
    log = read_log("joined")
    last = log.last
    assert [record.archive for record in main_line(log.trainings, last)] == [
        "population/3_4_model.zip",  # A restart.
        "population/3_5_model.zip",
        "model/model_3.zip",
        "model/model_final.zip",
    ]
    first = next(record for record in log.trainings if record.archive == "model/model_1.zip")
    assert [record.clone for record in main_line(log.trainings, first)] == [None, 0, 5, 7, None]


@NAMES
def test_a_run_can_be_looked_at(name):
    before = contents(RUNS / name)
    result = miha.load_run(RUNS / name)
    description = json.loads((RUNS / name / "run.json").read_text())
    assert (result.state, result.stopped, result.monitor) == ("finished", None, "val_loss")
    assert result.mode == description["arguments"]["mode"]
    assert result.best_value == result.log.best("min").value
    assert result.best_genome == result.log.best("min").genome
    assert result.genome == result.log.resulting.genome
    assert len(result.history) == len(table(name, "history"))
    assert contents(RUNS / name) == before


@NAMES
def test_the_schedule_that_won_is_known(name):
    result = miha.load_run(RUNS / name)
    schedule = result.schedule
    assert schedule.genome == result.genome
    line = main_line(result.log.trainings, result.log.resulting)
    assert schedule.epochs == sum(len(record.epochs) for record in line)
    assert schedule.segments[-1].genome == result.genome


@NAMES
def test_its_networks_can_be_loaded(name):
    genomes = {record.archive: record.genome for record in read_log(name).trainings}
    archives = sorted((RUNS / name).rglob("*.zip"))
    assert len(archives) > 3
    for path in (archives[0], RUNS / name / "model/model_init.zip"):
        model, genome = miha.load(path)
        assert genome == genomes[path.relative_to(RUNS / name).as_posix()]
        assert type(model.optimizer).__name__.lower() == genome.optimizer
        assert model(np.zeros((1, 4))).shape == (1, 3)
    result = miha.load_run(RUNS / name)
    assert isinstance(result.genome, Genome)
    assert [layer.name for layer in result.model.layers] == ["hidden", "dropout", "out"]
    best = result.best_model
    assert type(best.optimizer).__name__.lower() == result.best_genome.optimizer


@NAMES
def test_a_run_does_not_go_on_with_this_version(tmp_path, name):
    path = shutil.copytree(RUNS / name, tmp_path / name)
    Journal(path / "journal.jsonl").cut(5)
    before = contents(path)
    assert RunFolder(path).description()["format"] == 1
    text = "A run goes on with the version of MIHA that it was begun with. Received: logs=.*"
    with pytest.raises(RunExistsError, match=text + "earlier version.*load_run.*overwrite=True"):
        make_loop(path)
    assert contents(path) == before
    make_loop(path, overwrite=True)
    assert RunFolder(path).description()["format"] == 2


def test_the_user_is_told_so_before_anything_is_trained(tmp_path):
    path = shutil.copytree(RUNS / "plain", tmp_path / "run")
    before = contents(path)
    script = runpy.run_path(str(RUNS / "make.py"))
    with pytest.raises(RunExistsError, match="earlier version"):
        miha.MIHA(script["build"](), **script["data"](), logs=path)
    assert contents(path) == before
