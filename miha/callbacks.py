"""Hooks: what a user may watch while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miha.errors import MihaError, RunStopped
from miha.records import Epoch, Network, Schedule, Task

if TYPE_CHECKING:
    from miha.results.result import Result


class Callback:
    """Watches a run. Override what you need; what a method raises ends the run.

    Where clones train together, the calls for one stand between those for another.
    """

    def on_run_begin(self, schedule: Schedule, run_dir: str) -> None:
        """Called once, before the first epoch.

        Args:
            schedule: The most that the run can be: budgets may end it before.
            run_dir: The run's folder.
        """

    def on_resume(self, trainings: Sequence[Mapping[str, Any]]) -> None:
        """Called after `on_run_begin` when an earlier process has done a part of the run.

        Args:
            trainings: The journal's entries of the trainings that are not done again.
        """

    def on_training_begin(self, task: Task) -> None:
        """Called before each training: of the network, or of a clone."""

    def on_epoch_end(self, task: Task, epoch: Epoch) -> None:
        """Called after each epoch."""

    def on_training_end(self, network: Network) -> None:
        """Called after each training, with the trained network."""

    def on_cycle_end(self, cycle: int, clones: Sequence[Mapping[str, Any]]) -> None:
        """Called when a cycle's winner is known.

        Args:
            cycle: 1 to c.
            clones: One row of the lineage for each clone; ``"selected"`` marks the winner. Those
                that are late are not among them yet.
        """

    def on_run_end(self, result: Result) -> None:
        """Called once, after the last epoch, with everything written."""

    def close(self) -> None:
        """Called last, however the run ended; what it raises is raised when all are closed."""


def notify(callbacks: Sequence[Callback], hook: Callable[..., None], *args: Any) -> None:
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
            raise
        except Exception as error:
            name = f"{type(callback).__name__}.{hook.__name__}"
            raise MihaError(f"The callback {name} raised {error!r}.") from error
