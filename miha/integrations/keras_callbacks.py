"""Callbacks of Keras in a run: they follow the main line, as if `fit` had trained it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from miha.archive.archive import read
from miha.callbacks import Callback
from miha.errors import RunStopped
from miha.integrations.keras_checks import is_keras_callback
from miha.records import Epoch, Genome, Network, Schedule, Snapshot, Task, TrainingRecord
from miha.results.reader import load_run
from miha.results.trials import RunView
from miha.trainer.protocol import Mirror, Trainer

if TYPE_CHECKING:
    from miha.results.result import Result


def join_keras_callbacks(callbacks: Sequence[Any], trainer: Trainer) -> list[Callback]:
    """Return the callbacks of a run, those of Keras together as one at the place of the first."""
    guests = [callback for callback in callbacks if is_keras_callback(callback)]
    mirror = trainer.mirror if guests else None
    if mirror is None:
        return list(callbacks)
    first = callbacks.index(guests[0])
    own = [callback for callback in callbacks if not is_keras_callback(callback)]
    place = sum(not is_keras_callback(callback) for callback in callbacks[:first])
    return [*own[:place], Following(guests, trainer, mirror), *own[place:]]


Place = tuple[int | None, int | None]
"""Cycle and clone."""


class Following(Callback):
    """Calls callbacks of Keras for the main line.

    Their `model` is a plain network with the main line's values and its optimizer, at the end of
    each epoch. The epochs of a clone are called when it has been selected; `model` then has its
    last values. Where they set `stop_training`, the run stops at the end of the training at hand.

    Args:
        callbacks: Keras' own.
        trainer: The live network.
        mirror: What they look at.
    """

    def __init__(self, callbacks: Sequence[Any], trainer: Trainer, mirror: Mirror) -> None:
        self._guests = callbacks
        self._trainer = trainer
        self._mirror = mirror
        self._run_dir = Path()
        self._epoch = self._left = 0
        self._last: dict[str, Any] = {}
        self._logs: dict[Place, list[dict[str, Any]]] = {}
        # Whose values are in memory: the run holds the one that it selects, this holds none.
        self._clones: weakref.WeakValueDictionary[Place, Network] = weakref.WeakValueDictionary()
        self._is_stopped = False

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Begin as `fit` does."""
        self._run_dir = Path(run_dir)
        self._forget()
        s = schedule
        epochs = 2 * s.m + s.c * (s.n + s.k)
        self._list = keras.callbacks.CallbackList(
            self._guests, model=self._mirror.network, epochs=epochs, verbose=0, steps=None
        )
        self._mirror.network.stop_training = False
        self._list.on_train_begin()

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Count the epochs that are done already, and remember the clones that may be selected."""
        view = RunView.of(load_run(self._run_dir))
        self._epoch = sum(len(trial.logs) for trial in view.main_line)
        clones = [record for record in trainings if record.is_clone]
        self._logs = {(clone.cycle, clone.clone): _logs(clone) for clone in clones}

    def on_training_begin(self, task: Task) -> None:
        """Stop, where that was asked for; else begin an epoch of the network itself."""
        if self._is_stopped:
            raise RunStopped(
                f"A callback of Keras set `stop_training` after epoch {self._epoch} of the network "
                "itself: the run stops. Run the same script again to go on."
            )
        if task.phase != "clone" and task.epochs:
            self._list.on_epoch_begin(self._epoch)

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """End an epoch of the network itself, and begin its next one."""
        if task.phase == "clone":
            return
        self._mirror.show(self._trainer.snapshot(), task.genome)
        self._end_epoch(epoch.logs)
        self._left = (self._left or task.epochs) - 1
        if self._left:
            self._list.on_epoch_begin(self._epoch)

    def on_training_end(self, network: Network) -> None:
        """Remember a clone that may be selected; show what the network itself has become."""
        self._left = 0
        record = network.record
        if not record.is_clone:
            if network.snapshot is not None:
                self._mirror.show(network.snapshot, network.genome)
            return
        place = (record.cycle, record.clone)
        self._logs[place] = _logs(record)
        if network.snapshot is not None:
            self._clones[place] = network

    def on_cycle_end(
        self, cycle: int, clones: Sequence[TrainingRecord], winner: TrainingRecord | None
    ) -> None:
        """Call the epochs of the selected clone: they belong to the main line now."""
        if winner is not None:
            self._mirror.show(*self._values(winner))
            for clone in clones_on_main_line(winner, clones):
                for logs in self._logs.get((cycle, clone.clone), []):
                    self._list.on_epoch_begin(self._epoch)
                    self._end_epoch(logs)
        self._logs = {}
        self._clones.clear()

    def on_run_end(self, result: Result) -> None:
        """End as `fit` does."""
        self._list.on_train_end(self._last)

    def _forget(self) -> None:
        self._epoch = self._left = 0
        self._last, self._logs = {}, {}
        self._clones.clear()
        self._is_stopped = False

    def _end_epoch(self, logs: Mapping[str, Any]) -> None:
        self._last = {name: value for name, value in logs.items() if name != "seconds"}
        self._list.on_epoch_end(self._epoch, self._last)
        self._epoch += 1
        self._is_stopped |= bool(self._mirror.network.stop_training)

    def _values(self, winner: TrainingRecord) -> tuple[Snapshot, Genome]:
        """Return a selected clone's values; those of an earlier process are in its archive."""
        network = self._clones.get((winner.cycle, winner.clone))
        if network is not None and network.snapshot is not None:
            return network.snapshot, network.genome
        data = read(self._run_dir / str(winner.archive))[1]
        return self._trainer.recall(data), winner.genome


def clones_on_main_line(
    winner: TrainingRecord, clones: Sequence[TrainingRecord]
) -> list[TrainingRecord]:
    """Return the winner of a cycle, after the clone that it has gone on from, if there is one.

    A child of two clones goes on from the fitter one's epochs.
    """
    parents = [clone for clone in clones if clone.archive == winner.parent]
    return [*parents, winner]


def _logs(record: TrainingRecord) -> list[dict[str, Any]]:
    return [{**epoch.logs, "seconds": epoch.seconds} for epoch in record.epochs]
