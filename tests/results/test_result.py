"""What a run returns: its networks, its hyperparameters, and which archives they are in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import FakeTrainer, make_loop
from runs import make_run, old_run

from miha.errors import ArchiveError, MihaError, MihaWarning
from miha.results.reader import load_run


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A finished run whose best network is that of its first training."""
    trainer = FakeTrainer(script={0: {"val_loss": 0.0}})
    return make_run(tmp_path_factory.mktemp("run"), trainer, restore_best=False)


def loading(result, missing=()):
    """Return a result that loads names instead of networks."""

    def load(path):
        if path.name in missing:
            raise ArchiveError(f"{path.name} is gone.")
        return path.name

    return replace(result, _load=load)


def test_the_last_and_the_best_network_are_loaded_when_they_are_asked_for(result):
    found = loading(result)
    assert found.archives == ("model/model_final.zip", "model/model_init.zip")
    assert (found.model, found.best_model) == ("model_final.zip", "model_init.zip")
    assert found.best_value == 0.0
    assert found.genome == result.log.last.genome
    assert found.best_genome == result.log.trainings[0].genome


def test_both_networks_can_be_loaded_at_once(result):
    assert loading(result).loaded().model == "model_final.zip"


def test_a_best_network_that_is_gone_is_a_warning_and_a_last_one_an_error(result):
    with pytest.warns(MihaWarning, match=r"best network is not there: model_init\.zip is gone"):
        loading(result, ["model_init.zip"]).loaded()
    with pytest.raises(ArchiveError, match="model_final"):
        loading(result, ["model_final.zip"]).loaded()


def test_a_restored_network_is_the_last_and_the_best(tmp_path):
    trainer = FakeTrainer(script={0: {"val_loss": 0.0}})
    result = make_run(tmp_path, trainer)
    assert result.archives == ("model/model_final.zip", "model/model_final.zip")
    assert result.genome == result.best_genome == result.log.trainings[0].genome
    assert result.schedule.epochs == 2


def test_why_a_run_ended_early_is_known(result, tmp_path):
    assert result.stopped is None
    early = make_run(tmp_path, c=9, target=1e9)
    assert "target" in early.stopped


@pytest.mark.parametrize("anneal", [True, False])
def test_the_schedule_is_annealed_where_the_run_was(tmp_path, anneal):
    schedule = make_run(tmp_path, anneal=anneal, seed=7).schedule
    assert (bool(schedule.segments[-1].rates), schedule.seed) == (anneal, 7)


def test_the_schedule_of_an_old_run_has_its_switches_and_both_clones():
    schedule = old_run("joined").schedule
    clones = [(s.cycle, s.clone) for s in schedule.segments if s.phase == "clone"]
    assert clones == [(3, 4), (3, 5)]  # It begins with the last restart.
    assert schedule.segments[-1].rates
    assert schedule.segments[0].transition == "restart"


def test_what_needs_a_network_says_that_there_is_none(tmp_path):
    make_loop(tmp_path)
    result = load_run(tmp_path)
    for name in ("model", "best_model", "genome", "best_genome", "best_value", "schedule"):
        with pytest.raises(MihaError, match="must have finished its first training"):
            getattr(result, name)
