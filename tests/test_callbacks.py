"""Callbacks: who is called, when, and what happens when one raises."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from fakes import FakeTrainer, make_loop, make_network, run

from miha.callbacks import Callback, notify
from miha.errors import MihaError
from miha.records import Epoch

HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction)]


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_training_begin(self, task):
        self.calls.append(("begin", task.archive))

    def on_epoch_end(self, task, epoch):
        self.calls.append(("epoch", task.archive))

    def on_training_end(self, network):
        self.calls.append(("end", network.task.archive))

    def on_cycle_end(self, cycle, clones):
        self.calls.append(("cycle", cycle))


class Broken(Callback):
    def on_epoch_end(self, task, epoch):
        raise IndexError("out of paper")


def epoch_of(network):
    return network.task, network.epochs[0]


def test_there_is_a_hook_for_each_moment_of_a_run():
    assert set(HOOKS) == {
        "on_run_begin",
        "on_resume",
        "on_training_begin",
        "on_epoch_end",
        "on_training_end",
        "on_cycle_end",
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

        def on_cycle_end(self, cycle, clones):
            calls.append((self.name, cycle, clones))

    clones = [{"selected": True}]
    notify([Listener("a"), Listener("b")], Callback.on_cycle_end, 3, clones)
    assert calls == [("a", 3, clones), ("b", 3, clones)]


def test_a_callback_that_raises_is_named_with_its_hook():
    task, epoch = epoch_of(make_network())
    with pytest.raises(MihaError, match=r"Broken\.on_epoch_end raised IndexError") as caught:
        notify([Broken()], Callback.on_epoch_end, task, epoch)
    assert isinstance(caught.value.__cause__, IndexError)


def test_callbacks_after_one_that_raises_are_not_called():
    recorder = Recorder()
    with pytest.raises(MihaError):
        notify([recorder, Broken(), recorder], Callback.on_epoch_end, *epoch_of(make_network()))
    assert recorder.calls == [("epoch", "population/1_0_model.zip")]


def test_an_interruption_in_a_callback_is_not_wrapped():
    class Stops(Callback):
        def close(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notify([Stops()], Callback.close)


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


def test_a_callback_sees_each_cycle_as_the_lineage_has_it(tmp_path):
    seen = []

    class Listener(Callback):
        def on_cycle_end(self, cycle, clones):
            assert Counter(row["selected"] for row in clones) == {True: 1, False: 2}
            assert {row["cycle"] for row in clones} == {cycle}
            seen.extend(clones)

    loop = make_loop(tmp_path, callbacks=[Listener()])
    run(loop)
    assert seen == loop.log.lineage.to_dict("records")


def test_callbacks_change_nothing_of_the_run(tmp_path):
    watched = make_loop(tmp_path / "watched", FakeTrainer(), callbacks=[Recorder()])
    alone = make_loop(tmp_path / "alone", FakeTrainer())
    assert run(watched).value == run(alone).value
