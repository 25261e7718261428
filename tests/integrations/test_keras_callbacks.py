"""Callbacks of Keras in a run: called for the main line as in `fit`, or refused by name."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_loop
from fakes import run as run_loop
from networks import dense, images
from runs import Joining, crossed

from miha import MIHA, Search, SearchSpace, load_run
from miha.callbacks import Callback, notify
from miha.errors import MihaError, MihaWarning
from miha.integrations.keras_callbacks import Following, join_keras_callbacks
from miha.mutations import resolve
from miha.records import UNCHANGED, Epoch, Schedule, Task
from miha.results.trials import RunView
from miha.storage.journal import Journal

SHORT = {"m": 2, "n": 2, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 3, "verbose": 0}
# Without rests the epochs of the main line are known.
SHORT["search"] = Search(rest=False)
# Few values, for tracing takes its time.
SHORT["space"] = SearchSpace(optimizers=["adam", "sgd"], activations=["relu", "elu", "tanh"])
MAIN_LINE = 2 * 2 + 2 * (2 + 1)


def start(folder, callbacks, **changes):
    x, y = images()
    arguments = {**SHORT, "validation_data": images(32, seed=9), "logs": folder, **changes}
    return MIHA(dense(), x, y, callbacks=callbacks, **arguments)


class Recording(keras.callbacks.Callback):
    """Notes what is called, and what its network is worth at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs, self.losses, self.optimizers = [], [], [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(-epoch)
        self.logs.append(logs)
        evaluated = self.model.evaluate(*images(32, seed=9), verbose=0, return_dict=True)
        self.losses.append(evaluated["loss"])
        self.optimizers.append(type(self.model.optimizer).__name__.lower())

    def on_train_end(self, logs=None):
        self.calls.append("end")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A finished run, and what a callback of Keras saw of it; tests only read them."""
    folder = tmp_path_factory.mktemp("watched")
    recording = Recording()
    saved = folder / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(saved, "val_loss", save_best_only=True)
    csv = keras.callbacks.CSVLogger(folder / "log.csv")
    asking = keras.callbacks.ModelCheckpoint(folder / "{accuracy}.keras", "val_accuracy")
    result = start(folder / "run", [recording, checkpoint, csv, asking]).optimize()
    return result, recording, folder


def main_line(result):
    return [trial for trial in RunView.of(result).main_line for _ in trial.logs]


def test_the_epochs_of_the_main_line_are_called_as_fit_calls_them(watched):
    _, recording, _ = watched
    epochs = [call for epoch in range(MAIN_LINE) for call in (epoch, -epoch)]
    assert recording.calls == ["train", *epochs, "end"]


def test_the_logs_are_those_of_the_main_line(watched):
    result, recording, _ = watched
    told = [log for trial in RunView.of(result).main_line for log in trial.logs]
    expected = [{n: v for n, v in log.items() if n != "seconds"} for log in told]
    assert recording.logs == expected


def test_the_network_has_the_values_of_the_main_line_after_each_epoch(watched):
    result, recording, _ = watched
    # Of a selected clone the last epoch's: its values are known when it has been selected.
    for trial in RunView.of(result).main_line:
        own = slice(trial.start + (len(trial.logs) - 1 if trial.is_clone else 0), trial.end)
        told = trial.curve("val_loss")[-len(recording.losses[own]) :]
        np.testing.assert_allclose(recording.losses[own], told, rtol=1e-4)


def test_the_network_has_the_activations_of_the_main_line(tmp_path):
    recording = Recording()
    changes = {"mutations": ["activation"], "m": 1, "n": 1, "c": 1, "pop_size": 2}
    changes["search"] = Search(control=False, restarts=0)
    result = start(tmp_path / "run", [recording], **changes).optimize()
    assert {name for _, name in result.genome.activations} != {"relu"}
    told = [value for t in RunView.of(result).main_line for value in t.curve("val_loss")]
    np.testing.assert_allclose(recording.losses, told, rtol=1e-4)


def test_the_network_has_the_optimizer_of_the_main_line(watched):
    result, recording, _ = watched
    assert recording.optimizers == [trial.genes["optimizer"] for trial in main_line(result)]


def test_a_checkpoint_is_a_plain_network_with_the_best_value(watched):
    result, recording, folder = watched
    loaded = keras.models.load_model(folder / "best.keras")
    loss = loaded.evaluate(*images(32, seed=9), verbose=0, return_dict=True)["loss"]
    best = int(np.argmin([log["val_loss"] for log in recording.logs]))
    assert loss == pytest.approx(recording.losses[best], rel=1e-5)
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + MAIN_LINE
    assert result.state == "finished"


def test_watching_changes_nothing_of_the_run(watched, tmp_path):
    result, _, _ = watched
    alone = start(tmp_path / "run", []).optimize()
    assert alone.lineage["value"].tolist() == result.lineage["value"].tolist()
    assert alone.best_value == result.best_value


class Enough(keras.callbacks.Callback):
    """Ends a training after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


class Failing(Callback):
    """Ends a run where a cycle's winner is about to train."""

    def on_training_begin(self, task):
        if task.phase == "winner":
            raise ValueError("enough")


def test_a_run_that_was_stopped_and_interrupted_goes_on_to_the_same_end(watched, tmp_path):
    whole, _, _ = watched
    with pytest.warns(MihaWarning, match="callback Enough set `stop_training`.*after epoch 2"):
        stopped = start(tmp_path / "run", [Enough()]).optimize()
    assert "callback Enough set" in stopped.stopped
    assert load_run(tmp_path / "run").stopped is None
    assert stopped.state == load_run(tmp_path / "run").state == "interrupted"
    assert (len(stopped.lineage), len(stopped.history)) == (0, 2)
    assert stopped.model.evaluate(*images(32, seed=9), verbose=0)

    recording = Recording()
    with pytest.raises(MihaError, match="enough"):
        start(tmp_path / "run", [recording, Failing()]).optimize()
    assert [call for call in recording.calls if isinstance(call, int)][0] == 2

    recording = Recording()
    ended = start(tmp_path / "run", [recording]).optimize()
    assert ended.state == "finished"
    assert ended.lineage["value"].tolist() == whole.lineage["value"].tolist()
    # Two epochs of the network, and two of the clone that an earlier process selected.
    assert recording.calls[1] == 2 + 2
    assert recording.calls[-2] == -(MAIN_LINE - 1)


def test_a_child_of_two_clones_is_looked_at_when_it_wins(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.search.crossover.wins", lambda *args: True)
    recording = Recording()
    changes = {"m": 1, "n": 1, "c": 1, "mutations": ["learning_rate"]}
    changes["search"] = Search(crossover=True, restarts=0)
    result = start(tmp_path / "run", [recording], **changes).optimize()
    [child] = RunView.of(result).winners.values()
    assert child.gene == "crossover"
    assert recording.losses[child.end - 1] == pytest.approx(child.value, rel=1e-4)


class FakeMirror:
    """What callbacks look at, without Keras: the values that were shown last."""

    def __init__(self):
        optimizer = SimpleNamespace(learning_rate=0.1)
        values = {"optimizer": optimizer, "weights": [], "trainable_variables": []}
        self.network = SimpleNamespace(stop_training=False, **values)
        self.weight = self.genome = None

    def show(self, snapshot, genome):
        self.weight = float(snapshot.variables[0][0])
        self.genome = genome


class Noting(keras.callbacks.Callback):
    """Notes the calls of a run of the fake trainer, and what was shown at each epoch's end."""

    def __init__(self, mirror):
        super().__init__()
        self.mirror = mirror
        self.calls, self.logs, self.weights, self.genomes = [], [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(-epoch)
        self.logs.append(logs)
        self.weights.append(self.mirror.weight)
        self.genomes.append(self.mirror.genome)


def noted(path, trainer=None, more=(), **changes):
    """Train a run of the fake trainer, or go on with it; return what a callback noted."""
    trainer, mirror = trainer or FakeTrainer(), FakeMirror()
    noting = Noting(mirror)
    following = Following([noting], trainer, mirror)
    loop = make_loop(path, trainer, callbacks=[following, *more], **changes)
    notify([following], Callback.on_run_begin, loop.schedule, str(path))
    past = loop.recorder.past.trainings
    if past:
        notify([following], Callback.on_resume, past)
    run_loop(loop)
    return noting


def weight_in(path, archive):
    return FakeTrainer().load((path / archive).read_bytes())["weight"]


def assert_follows(noting, path):
    """Assert that a callback was called for the main line, and saw what it became."""
    line = RunView.of(load_run(path)).main_line
    logs = [{n: v for n, v in log.items() if n != "seconds"} for t in line for log in t.logs]
    assert noting.logs == logs
    assert noting.calls == [call for epoch in range(len(logs)) for call in (epoch, -epoch)]
    for trial in line:
        if trial.logs and (trial.selected or not trial.is_clone):
            # The last network is rounded when it is finished.
            rounding = 0.005 if trial.phase == "final" else 0.0
            weight = weight_in(path, trial.archive)
            assert noting.weights[trial.end - 1] == pytest.approx(weight, rel=0, abs=rounding)
            assert noting.genomes[trial.end - 1] == trial.record.genome


@pytest.fixture
def no_archives(monkeypatch):
    """Archives are written in the background: what this process has trained is in its memory."""
    monkeypatch.setattr(
        "miha.integrations.keras_callbacks.read", lambda path: pytest.fail(str(path))
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"c": 4, "pop_size": 5, "restarts": 2, "rest": True},
        {"margin": 1e6, "m": 4},
        {"crossover": True, "mutations": resolve(["learning_rate"]), "c": 3},
        {"k": 0},
        {"backtrack": 0.0, "c": 3},
    ],
)
def test_every_kind_of_run_is_called_as_its_main_line(tmp_path, no_archives, changes):
    trainer = Joining() if "crossover" in changes else None
    noting = noted(tmp_path, trainer, **changes)
    view = RunView.of(load_run(tmp_path))
    if "margin" in changes:  # No mutant is better by so much.
        assert {winner.gene for winner in view.winners.values()} == {"none"}
    if "crossover" in changes:
        assert {winner.gene for winner in view.winners.values()} == {"crossover"}
        for child in view.winners.values():
            assert noting.weights[child.end - 1] == weight_in(tmp_path, child.archive)
        assert len(noting.logs) == sum(len(trial.logs) for trial in view.main_line)
    else:
        assert_follows(noting, tmp_path)


def test_a_child_of_an_earlier_process_is_read_from_its_archive(tmp_path):
    crossed(tmp_path)
    whole = RunView.of(load_run(tmp_path))
    journal = Journal(tmp_path / "journal.jsonl")
    # The first training, four clones of cycle 1, and not the selection.
    journal.cut(5)
    changes = {"crossover": True, "mutations": resolve(["learning_rate", "batch_size"])}
    noting = noted(tmp_path, Joining(), **changes)
    child = whole.winners[1]
    assert noting.calls[0] == 2
    assert noting.weights[child.end - 2 - 1] == weight_in(tmp_path, child.archive)
    assert len(noting.logs) == whole.main_line[-1].end - 2


def test_epochs_of_a_training_that_goes_on_are_counted_not_called():
    mirror = FakeMirror()
    noting = Noting(mirror)
    following = Following([noting], FakeTrainer(), mirror)
    notify([following], Callback.on_run_begin, Schedule(4, 1, 1, 0, 1), "")
    task = Task("initial", None, None, 4, GENOME, UNCHANGED, "model/model_init.zip")
    notify([following], Callback.on_training_begin, task)
    notify([following], Callback.on_training_resume, task, [Epoch({"loss": 1.0}, 1.0)] * 2)
    for _ in range(2):
        notify([following], Callback.on_epoch_end, task, Epoch({"loss": 0.5}, 1.0))
    # Keras' own progress callbacks count from the last beginning.
    assert noting.calls == [0, 2, -2, 3, -3]


def test_callbacks_of_both_kinds_keep_their_order():
    trainer = FakeTrainer()
    trainer.mirror = FakeMirror()
    own = [Callback() for _ in range(3)]
    guests = [keras.callbacks.Callback() for _ in range(2)]
    joined = join_keras_callbacks([own[0], guests[0], own[1], guests[1], own[2]], trainer)
    assert [joined[0], *joined[2:]] == own
    assert isinstance(joined[1], Following) and joined[1]._callbacks == guests
    assert join_keras_callbacks(own, trainer) == own


def test_a_callback_without_a_network_to_look_at_is_left_as_it_is():
    guest = keras.callbacks.Callback()
    assert join_keras_callbacks([guest], FakeTrainer()) == [guest]
