"""Callbacks of Keras in a run: called for the main line as in `fit`, or refused by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from miha.results.story import Story
from networks import dense, images

from miha import MIHA, ArgumentError, MihaWarning, load_run
from miha.callbacks import Callback
from miha.errors import MihaError

SHORT = {"m": 2, "n": 2, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 3, "verbose": 0}
SHORT["rest"] = False  # So that the epochs of the main line are known.
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
    patient = keras.callbacks.EarlyStopping("val_accuracy", patience=99)  # Asks for metrics.
    result = start(folder / "run", [recording, checkpoint, csv, patient]).optimize()
    return result, recording, folder


def main_line(result):
    return [trial for trial in Story.of(result).main_line for _ in trial.logs]


def test_the_epochs_of_the_main_line_are_called_as_fit_calls_them(watched):
    _, recording, _ = watched
    epochs = [call for epoch in range(MAIN_LINE) for call in (epoch, -epoch)]
    assert recording.calls == ["train", *epochs, "end"]


def test_the_logs_are_those_of_the_main_line(watched):
    result, recording, _ = watched
    told = [log for trial in Story.of(result).main_line for log in trial.logs]
    expected = [{n: v for n, v in log.items() if n != "seconds"} for log in told]
    assert recording.logs == expected


def test_the_network_has_the_values_of_the_main_line_after_each_epoch(watched):
    result, recording, _ = watched
    # Of a selected clone the last epoch's: its values are known when it has been selected.
    for trial in Story.of(result).main_line:
        own = slice(trial.start + (len(trial.logs) - 1 if trial.is_clone else 0), trial.end)
        told = trial.curve("val_loss")[-len(recording.losses[own]) :]
        np.testing.assert_allclose(recording.losses[own], told, rtol=1e-4)


def test_the_network_has_the_activations_of_the_main_line(tmp_path):
    recording = Recording()
    changes = {"mutations": ["activation"], "control": False, "pop_size": 2, "k": 1, "n": 1}
    result = start(tmp_path / "run", [recording], **changes).optimize()
    assert {name for _, name in result.genome.activations} != {"relu"}
    told = [value for t in Story.of(result).main_line for value in t.curve("val_loss")]
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


def test_early_stopping_stops_the_run_which_can_go_on_to_the_same_end(watched, tmp_path):
    whole, _, _ = watched
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=1, mode="max")
    stopped = start(tmp_path / "run", [stopping]).optimize()
    assert stopped.state == load_run(tmp_path / "run").state == "interrupted"
    assert (len(stopped.lineage), len(stopped.history)) == (0, 2)
    assert stopped.model.evaluate(*images(32, seed=9), verbose=0)
    recording = Recording()
    ended = start(tmp_path / "run", [recording]).optimize()
    assert ended.state == "finished"
    assert ended.lineage["value"].tolist() == whole.lineage["value"].tolist()
    assert [call for call in recording.calls if isinstance(call, int)][0] == 2


class Failing(Callback):
    """Ends a run where a cycle's winner is about to train."""

    def on_training_begin(self, task):
        if task.phase == "winner":
            raise ValueError("enough")


def test_a_run_that_goes_on_counts_the_selected_clone_of_an_earlier_process(tmp_path):
    with pytest.raises(MihaError, match="enough"):
        start(tmp_path / "run", [Failing()]).optimize()
    recording = Recording()
    start(tmp_path / "run", [recording]).optimize()
    assert recording.calls[1] == 2 + 2  # Two epochs of the network, two of the clone.
    assert recording.calls[-2] == -(MAIN_LINE - 1)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: keras.callbacks.ReduceLROnPlateau(), "the learning rate is a gene"),
        (lambda: keras.callbacks.LearningRateScheduler(lambda e, r: r), "LearningRateSchedule"),
        (lambda: keras.callbacks.BackupAndRestore("nowhere"), "run the same script again"),
        (lambda: keras.callbacks.TerminateOnNaN(), "not finite"),
        (lambda: keras.callbacks.ModelCheckpoint("a.keras", save_freq=10), "save_freq='epoch'"),
        (lambda: keras.callbacks.TensorBoard("a", update_freq=10), "update_freq='epoch'"),
    ],
)
def test_what_a_run_cannot_do_is_refused_with_the_cure(tmp_path, make, words):
    with pytest.raises(ArgumentError, match=words):
        start(tmp_path / "run", [make()])
    assert not (tmp_path / "run").exists()


def test_hooks_of_batches_are_warned_of_by_name(tmp_path):
    class Counting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            """Count."""

    with pytest.warns(MihaWarning, match="on_train_batch_end of Counting will not be called"):
        start(tmp_path / "run", [Counting()])
    by_epochs = Counting()
    by_epochs.log_freq = None  # As Weights & Biases has it: nothing is warned of.
    start(tmp_path / "run", [by_epochs])


def test_a_race_and_a_crossing_are_called_as_the_main_line_that_they_became(tmp_path, monkeypatch):
    def read(path):
        raise AssertionError(f"{path} may not be written yet")

    # Archives are written in the background: what this process has trained is in its memory.
    monkeypatch.setattr("miha.integrations.keras_callbacks.read", read)
    recording = Recording()
    changes = {"n": 2, "c": 3, "pop_size": 4, "racing": True, "crossover": True, "restarts": 1}
    result = start(tmp_path / "run", [recording], **changes).optimize()
    story = Story.of(result)
    assert {clone.stage for clone in story.clones} == {0, 1, 2}
    assert {clone.gene for clone in story.clones} >= {"none", "restart"}
    told = [log for trial in story.main_line for log in trial.logs]
    assert recording.logs == [{n: v for n, v in log.items() if n != "seconds"} for log in told]
    epochs = [call for epoch in range(len(told)) for call in (epoch, -epoch)]
    assert recording.calls == ["train", *epochs, "end"]
    # After each training the network that is looked at is the one that was trained.
    for trial in (t for t in story.main_line if t.selected or not t.is_clone):
        assert recording.losses[trial.end - 1] == pytest.approx(trial.value, rel=1e-4)
        assert recording.optimizers[trial.end - 1] == trial.genes["optimizer"]


def test_a_control_that_wins_by_the_margin_is_called_from_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "miha.integrations.keras_callbacks.read", lambda path: pytest.fail(str(path))
    )
    recording = Recording()
    changes = {"m": 4, "margin": 1e6, "c": 1, "restarts": 0}  # No mutant is better by so much.
    result = start(tmp_path / "run", [recording], **changes).optimize()
    [winner] = Story.of(result).won.values()
    assert winner.gene == "none"
    assert recording.losses[winner.end - 1] == pytest.approx(winner.value, rel=1e-4)


def test_callbacks_of_both_kinds_keep_their_order(tmp_path):
    calls = []

    class Own(Callback):
        def __init__(self, name):
            self.name = name

        def on_run_begin(self, schedule, run_dir):
            calls.append(self.name)

    guest = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: calls.append("keras"))
    start(tmp_path / "run", [Own("a"), guest, Own("b")], c=0, m=1).optimize()
    assert calls == ["a", "keras", "b"]
