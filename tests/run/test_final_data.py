"""`Search(final_data="all")`: the last epochs train on the validation data, too."""

from __future__ import annotations

import pytest
from fakes import ALL_SAMPLES, SAMPLES, FakeTrainer, make_loop, make_session, run
from faults import Crash
from runs import make_run
from stories import story

from miha.callbacks import Callback
from miha.replays.schedule import HyperparameterSchedule
from miha.report.compared import _outcome
from miha.report.pace import Pace
from miha.results.reader import load_run
from miha.results.verdict import make_verdict
from miha.run.ways import Request
from miha.storage.folder import earlier_end
from miha.visualization.best import best_so_far

ALL = {"m": 5, "c": 1, "anneal": True, "restore_best": False, "final_data": "all"}


class Killing(Callback):
    """Kills the run in the third epoch of its last training."""

    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, task, epoch):
        self.epochs += task.phase == "final"
        if self.epochs == 3:
            raise Crash


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and its trainer."""
    path, trainer = tmp_path_factory.mktemp("run"), FakeTrainer()
    return make_run(path, trainer, **ALL), trainer


def test_only_the_last_training_takes_the_validation_data(finished, tmp_path):
    result, trainer = finished
    plain = make_run(tmp_path, FakeTrainer(), **{**ALL, "final_data": "train"})
    *earlier, last = trainer.trainings
    assert all(training.samples is SAMPLES for training in earlier)
    assert [sorted(order) for order in last.orders] == [list(range(len(ALL_SAMPLES)))] * 5
    ours, others = (
        run.history[run.history["phase"] != "final"].drop(columns="seconds").to_dict("split")
        for run in (result, plain)
    )
    assert ours == others
    assert [record.data for record in result.log.trainings] == ["train"] * 5 + ["all"]


def test_a_last_training_that_is_killed_goes_on_with_all_data(finished, tmp_path):
    result, _ = finished
    path, request = tmp_path / "run", Request(checkpoint_seconds=0)
    with pytest.raises(Crash):
        make_session(path, callbacks=[Killing()], request=request, **ALL).run()
    trainer = FakeTrainer()
    make_session(path, trainer, request=request, **ALL).run()
    [last] = trainer.trainings
    assert (last.samples is ALL_SAMPLES, len(last.orders)) == (True, 3)
    expected = tmp_path / "whole"
    make_session(expected, **ALL).run()
    assert story(path) == story(expected)
    assert result.log.last.value == load_run(path).log.last.value


def test_more_cycles_begin_from_a_network_that_has_not_seen_it(tmp_path):
    run(make_loop(tmp_path / "run", **ALL))
    run(make_loop(tmp_path / "run", **{**ALL, "c": 3}))
    run(make_loop(tmp_path / "long", **{**ALL, "c": 3}))
    words = " ".join(make_verdict(load_run(tmp_path / "run")).sentences)
    assert "The network of the earlier end" in words and "on data it has seen: model/" in words
    (tmp_path / "run" / earlier_end(1)).unlink()
    assert story(tmp_path / "run") == story(tmp_path / "long")


def test_the_network_that_has_seen_it_is_the_result_and_its_value_is_no_best_one(tmp_path):
    # The first training has the best value that means something.
    script = {0: {"val_loss": 1.0}, **{number: {"val_loss": 2.0} for number in range(1, 5)}}
    trainer = FakeTrainer(script={**script, 5: {"val_loss": 1.5}})
    result = make_run(tmp_path, trainer, **ALL)
    assert result.best is result.log.last is result.log.resulting
    assert result.view.best.phase == "initial"
    words = " ".join(make_verdict(result).sentences)
    assert "whose last 5 epochs trained on the validation data, too: its values there say" in words
    assert "Before them it had val_loss 2 " in words
    assert "val_loss has risen since epoch 5: 1 then, 2 before the validation data joined" in words
    assert "1.5" not in words
    assert [step[2] for step in best_so_far(result.view, "val_loss", "min")] == [1.0] * 6
    pace = Pace("val_loss", "min")
    pace.on_resume(result.log.trainings)
    assert pace.best == 1.0
    outcome = _outcome(result)
    assert outcome["best val_loss"] == outcome["last val_loss"] == "1.5 on data it has seen"
    assert "val_loss 1.5 on data it has seen -> model" in (tmp_path / "run.log").read_text()


def test_its_schedule_says_which_epochs_take_all_data(finished, tmp_path):
    schedule = finished[0].schedule
    schedule.save(tmp_path / "schedule.json")
    assert HyperparameterSchedule.load(tmp_path / "schedule.json") == schedule
    assert [segment.data for segment in schedule.segments][-2:] == ["train", "all"]
    assert schedule.segments[-1].task.data == "all"
    assert str(schedule).endswith("annealed, on the validation data, too")
