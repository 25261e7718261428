"""Callbacks of Keras in a run: they follow the main line, as if `fit` had trained it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.archive.archive import read
from miha.callbacks import Callback
from miha.errors import RunStopped
from miha.integrations.keras_checks import is_keras_callback
from miha.integrations.keras_guests import Guest
from miha.records import Epoch, Network, Schedule, Snapshot, Task, TrainingRecord
from miha.results.reader import load_run
from miha.results.trials import RunView
from miha.trainer.protocol import Mirror, Trainer

if TYPE_CHECKING:
    from miha.results.result import Result


def join_keras_callbacks(
    callbacks: Sequence[Any],
    trainer: Trainer,
) -> list[Callback]:
    """Return the callbacks of a run, those of Keras together as one at the place of the first."""
    guests = [callback for callback in callbacks if is_keras_callback(callback)]
    mirror = trainer.mirror if guests else None
    if mirror is None:
        return list(callbacks)

    joined: list[Callback] = []
    for callback in callbacks:
        if callback is guests[0]:
            joined.append(Following(guests, trainer, mirror))
        elif not is_keras_callback(callback):
            joined.append(callback)
    return joined


class Following(Callback):
    """Calls callbacks of Keras for the main line.

    Their `model` is a plain network with the main line's values and its optimizer, at the end of
    each epoch. The epochs of a clone are called when it has been selected; `model` then has its
    last values. Where one sets `stop_training`, the run stops at the end of the training at hand.
    Where one changes `model`, a warning names it.

    Args:
        callbacks: Keras' own.
        trainer: The live network.
        mirror: What they look at.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        trainer: Trainer,
        mirror: Mirror,
    ) -> None:
        self._callbacks = callbacks
        self._guests: list[Guest] = []
        self._trainer = trainer
        self._mirror = mirror
        self._run_dir = Path()
        # By their archives. The run holds the values that it may need, this holds none.
        self._values: weakref.WeakValueDictionary[str, Snapshot] = weakref.WeakValueDictionary()
        self._epoch = 0
        self._epochs_left = 0
        self._last_logs: dict[str, Any] = {}

    def on_run_begin(
        self,
        schedule: Schedule,
        run_dir: str,
    ) -> None:
        """Begin as `fit` does."""
        self._run_dir = Path(run_dir)
        # The same callback may follow several runs, one after another.
        self._epoch = 0
        self._epochs_left = 0
        self._last_logs = {}
        self._values.clear()
        network = self._mirror.network
        network.stop_training = False
        epochs = 2 * schedule.m + schedule.c * (schedule.n + schedule.k)
        self._guests = [Guest(callback, network, epochs) for callback in self._callbacks]
        self._call("on_train_begin")

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Count the epochs that are done already."""
        view = RunView.of(load_run(self._run_dir))
        epochs = [len(trial.logs) for trial in view.main_line]
        self._epoch = sum(epochs)

    def on_training_begin(self, task: Task) -> None:
        """Stop, where that was asked for; else begin an epoch of the network itself."""
        stopping = [guest.name for guest in self._guests if guest.has_stopped]
        if stopping:
            raise RunStopped(
                f"The callback {stopping[0]} set `stop_training`: the run stops after epoch "
                f"{self._epoch} of the network itself. Run the same script again, without the "
                "callback, to go on."
            )
        if task.phase != "clone" and task.epochs:
            self._epochs_left = task.epochs
            self._call("on_epoch_begin", self._epoch)

    def on_training_resume(self, task: Task, epochs: Sequence[Epoch]) -> None:
        """Count the epochs that an earlier process has trained, and begin the next one."""
        if task.phase != "clone":
            self._epoch += len(epochs)
            self._epochs_left -= len(epochs)
            self._call("on_epoch_begin", self._epoch)

    def on_epoch_end(
        self,
        task: Task,
        epoch: Epoch,
    ) -> None:
        """End an epoch of the network itself, and begin its next one."""
        if task.phase == "clone":
            return
        # Only now, since an epoch is one compiled program.
        self._mirror.show(self._trainer.snapshot(), task.genome)
        self._end_epoch(epoch.logs)
        self._epochs_left -= 1
        if self._epochs_left:
            self._call("on_epoch_begin", self._epoch)

    def on_training_end(self, network: Network) -> None:
        """Remember a clone that may be selected; show what the network itself has become."""
        values = network.snapshot
        if values is None:
            return
        if network.record.is_clone:
            self._values[str(network.record.archive)] = values
        else:
            self._mirror.show(values, network.genome)

    def on_cycle_end(
        self,
        cycle: int,
        clones: Sequence[TrainingRecord],
        winner: TrainingRecord | None,
    ) -> None:
        """Call the epochs of the selected clone: they belong to the main line now."""
        if winner is not None:
            values = self._values_of(winner)
            self._mirror.show(values, winner.genome)
            # A child of two clones has no epochs: it continues the fitter one.
            parents = [clone for clone in clones if clone.archive == winner.parent]
            for clone in [*parents, winner]:
                self._call_epochs(clone)
        self._values.clear()

    def on_run_end(self, result: Result) -> None:
        """End as `fit` does."""
        self._call("on_train_end", self._last_logs)

    def _call_epochs(self, clone: TrainingRecord) -> None:
        for epoch in clone.epochs:
            self._call("on_epoch_begin", self._epoch)
            self._end_epoch(epoch.logs)

    def _end_epoch(
        self,
        logs: Mapping[str, Any],
    ) -> None:
        self._last_logs = dict(logs)
        self._call("on_epoch_end", self._epoch, self._last_logs)
        self._epoch += 1

    def _call(
        self,
        hook: str,
        *args: Any,
    ) -> None:
        for guest in self._guests:
            guest.call(hook, *args)

    def _values_of(self, winner: TrainingRecord) -> Snapshot:
        """Return a selected clone's values; those of an earlier process are in its archive."""
        archive = str(winner.archive)
        values = self._values.get(archive)
        if values is None:
            _, data = read(self._run_dir / archive)
            values = self._trainer.recall(data)
        return values
