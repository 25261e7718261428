"""Callbacks: who is called, when, and what happens when one raises."""

from __future__ import annotations

import inspect
import math

import pytest
from fakes import GENOME, FakeTrainer, make_loop, make_plan, make_record, run

from miha.callbacks import Callback, notify
from miha.errors import MihaError, MihaWarning, RunStopped
from miha.records import Epoch, Network
from miha.run.trainings import make_task

HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction)]


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_training_begin(self, task):
        self.calls.append(("begin", task.archive))

    def on_epoch_end(self, task, epoch):
        self.calls.append(("epoch", task.archive))

    def on_training_end(self, network):
        self.calls.append(("end", network.record.archive))

    def on_cycle_end(self, cycle, clones, winner):
        self.calls.append(("cycle", cycle))


class Broken(Callback):
    def on_epoch_end(self, task, epoch):
        raise IndexError("out of paper")


def task_and_epoch():
    record = make_record()
    task = make_task(make_plan(), "clone", GENOME, 1, 0)
    return task, record.epochs[0]


def test_there_is_a_hook_for_each_moment_of_a_run():
    assert set(HOOKS) == {
        "on_run_begin",
        "on_resume",
        "on_training_begin",
        "on_training_resume",
        "on_epoch_end",
        "on_training_end",
        "on_cycle_end",
        "on_decision",
        "on_run_end",
        "close",
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_is_not_overridden_does_nothing(hook):
    function = getattr(Callback, hook)
    arguments = [object() for _ in inspect.signature(function).parameters][1:]
    callback = Callback()
    notify([callback], function, *arguments)
    assert vars(callback) == {}


def test_every_callback_is_called_in_order_with_the_same_things():
    calls = []

    class Listener(Callback):
        def __init__(self, name):
            self.name = name

        def on_cycle_end(self, cycle, clones, winner):
            calls.append((self.name, cycle, clones, winner))

    clones = [make_record(clone=0), make_record(clone=1)]
    notify([Listener("a"), Listener("b")], Callback.on_cycle_end, 3, clones, clones[1])
    assert calls == [("a", 3, clones, clones[1]), ("b", 3, clones, clones[1])]


def test_a_callback_that_raises_is_named_with_its_hook():
    task, epoch = task_and_epoch()
    with pytest.raises(MihaError, match=r"Broken\.on_epoch_end raised IndexError") as caught:
        notify([Broken()], Callback.on_epoch_end, task, epoch)
    assert isinstance(caught.value.__cause__, IndexError)


def test_callbacks_after_one_that_raises_are_not_called():
    recorder = Recorder()
    with pytest.raises(MihaError):
        notify([recorder, Broken(), recorder], Callback.on_epoch_end, *task_and_epoch())
    assert recorder.calls == [("epoch", "population/1_0_model.zip")]


def test_an_interruption_in_a_callback_is_not_wrapped():
    class Stops(Callback):
        def close(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notify([Stops()], Callback.close)


def test_a_callback_that_stops_the_run_is_no_error(tmp_path):
    class Stops(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            raise RunStopped("enough")

    loop = make_loop(tmp_path, callbacks=[Stops()])
    with pytest.raises(RunStopped, match="enough"):
        run(loop)
    assert len(loop.log.winners) == 1


def test_the_hooks_follow_the_run(tmp_path):
    recorder = Recorder()
    loop = make_loop(tmp_path, m=2, n=1, k=1, c=1, pop_size=2, callbacks=[recorder])
    run(loop)
    trainings = [
        ("model/model_init.zip", 2),
        ("population/1_0_model.zip", 1),
        ("population/1_1_model.zip", 1),
        ("model/model_1.zip", 1),
        ("model/model_final.zip", 2),
    ]
    expected = [
        [("begin", name), *[("epoch", name)] * epochs, ("end", name)] for name, epochs in trainings
    ]
    expected.insert(3, [("cycle", 1)])
    assert recorder.calls == [call for calls in expected for call in calls]


def test_a_callback_sees_each_epoch_as_the_history_has_it(tmp_path):
    seen = []

    class Listener(Callback):
        def on_epoch_end(self, task, epoch):
            assert isinstance(epoch, Epoch)
            seen.append((task.phase, epoch.logs["val_loss"], epoch.seconds))

    loop = make_loop(tmp_path, callbacks=[Listener()])
    run(loop)
    assert seen == list(loop.log.history[["phase", "val_loss", "seconds"]].itertuples(index=False))


def test_a_callback_sees_each_cycle_as_the_log_has_it(tmp_path):
    seen = []

    class Listener(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            seen.append((cycle, clones, winner))

    loop = make_loop(tmp_path, callbacks=[Listener()])
    run(loop)
    assert [cycle for cycle, _, _ in seen] == [1, 2]
    for cycle, clones, winner in seen:
        assert clones == loop.log.clones(cycle)
        assert [clone for clone in clones if loop.log.is_selected(clone)] == [winner]


def test_a_cycle_in_which_all_failed_has_no_winner(tmp_path):
    winners = []

    class Listener(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            winners.append(winner)

    trainer = FakeTrainer(script={i: {"loss": math.nan} for i in (1, 2, 3)})
    with pytest.warns(MihaWarning, match="Every clone of cycle 1 has failed"):
        run(make_loop(tmp_path, trainer, c=1, callbacks=[Listener()]))
    assert winners == [None]


def test_a_training_ends_with_its_record_and_its_values(tmp_path):
    seen = []

    class Listener(Callback):
        def on_training_end(self, network):
            assert isinstance(network, Network) and network.snapshot is not None
            seen.append(network.record)

    loop = make_loop(tmp_path, callbacks=[Listener()])
    run(loop)
    assert seen == loop.log.trainings


def test_callbacks_change_nothing_of_the_run(tmp_path):
    watched = make_loop(tmp_path / "watched", FakeTrainer(), callbacks=[Recorder()])
    alone = make_loop(tmp_path / "alone", FakeTrainer())
    assert run(watched).value == run(alone).value
