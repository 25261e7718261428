"""Hooks: what a user may watch while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from miha.errors import MihaError, RunStopped
from miha.records import Epoch, Network, Schedule, Task, TrainingRecord


class Callback:
    """Watches a run. Override what you need; what a method raises ends the run.

    Where clones train together, the calls for one stand between those for another.
    """

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Called once, before the first epoch.

        Args:
            schedule: The run's; a budget may end it before.
            run_dir: The run's folder.
        """

    def on_resume(self, trainings: Sequence[TrainingRecord]) -> None:
        """Called after `on_run_begin` when an earlier process has done a part of the run.

        Args:
            trainings: The trainings that are not done again.
        """

    def on_training_begin(self, task: Task) -> None:
        """Called before each training: of the network, or of a clone."""

    def on_training_resume(self, task: Task, epochs: Sequence[Epoch]) -> None:
        """Called after `on_training_begin` where an earlier process has trained a part of it.

        Args:
            task: The training.
            epochs: The epochs that are not trained again.
        """

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Called after each epoch."""

    def on_training_end(self, network: Network) -> None:
        """Called after each training, with the trained network."""

    def on_cycle_end(
        self,
        cycle: int,
        clones: Sequence[TrainingRecord],
        winner: TrainingRecord | None,
    ) -> None:
        """Called when a cycle's winner is known.

        Args:
            cycle: 1 to c.
            clones: The population.
            winner: One of them; None where every clone has failed.
        """

    def on_decision(self, text: str) -> None:
        """Called when the run has decided: who wins a cycle, to rest, to go back.

        Args:
            text: What, and why, as one line for people.
        """

    def on_run_end(self, result: Any) -> None:
        """Called once, after the last epoch, with everything written.

        Args:
            result: The run's `miha.Result`.
        """

    def close(self) -> None:
        """Called last, however the run ended; what it raises is raised when all are closed."""


def notify(
    callbacks: Sequence[Callback],
    hook: Callable[..., None],
    *args: Any,
) -> None:
    """Call one hook of every callback, in order.

    Args:
        callbacks: The listeners.
        hook: The method of `Callback` to call, e.g. ``Callback.on_epoch_end``.
        args: What the hook receives.

    Raises:
        MihaError: A callback raised; the message names it.
        RunStopped: A callback asks for the end of the run.
    """
    for callback in callbacks:
        try:
            getattr(callback, hook.__name__)(*args)
        except RunStopped:
            # A callback that asks for the end has not failed.
            raise
        except Exception as error:
            name = f"{type(callback).__name__}.{hook.__name__}"
            raise MihaError(f"The callback {name} raised {error!r}.") from error
