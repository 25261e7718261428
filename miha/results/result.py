"""What a run returns, and what can be read of a run at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import ArchiveError, MihaError
from miha.records import Genome, Mode
from miha.replays.schedule import HyperparameterSchedule
from miha.results.delegates import Showing
from miha.storage.folder import RunFolder
from miha.storage.journal import Entry
from miha.storage.logbook import Logbook
from miha.utils.warn import warn

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Result(Showing):
    """The outcome of a run, or what there is of it so far.

    Attributes:
        monitor: Name of the monitored value, e.g. ``"val_loss"``.
        run_dir: The run's folder.
        state: ``"finished"``, ``"running"`` (a process is at work in the folder) or
            ``"interrupted"``.
    """

    monitor: str
    run_dir: Path
    state: str
    _log: Logbook = field(repr=False)
    _mode: Mode = field(repr=False)
    _load: Callable[[Path], Any] = field(repr=False)

    @property
    def stopped(self) -> str | None:
        """Why the run went to its end before its last cycle, as a sentence; None: it did not."""
        return self._log.stopped

    @cached_property
    def model(self) -> keras.Model:
        """The last network, plain Keras, compiled with its final optimizer and its state.

        With ``restore_best``, the best one.
        """
        return self._load(self.run_dir / self._last["archive"])

    @property
    def genome(self) -> Genome:
        """The hyperparameters that `model` has."""
        return Genome.from_dict(self._held["genome"])

    @property
    def schedule(self) -> HyperparameterSchedule:
        """The hyperparameters that led to `model`, stretch by stretch; `miha.replay` follows it."""
        about = RunFolder(self.run_dir).description()
        anneal = bool(about["arguments"].get("anneal", False))
        entries = self._log.trainings
        return HyperparameterSchedule.along(entries, self._held, anneal, about["seed"])

    @cached_property
    def best_model(self) -> keras.Model:
        """The network of the run with the best monitored value: the last or another."""
        return self._load(self.run_dir / self.archives[1])

    @property
    def best_genome(self) -> Genome:
        """The hyperparameters of the best network."""
        return Genome.from_dict(self._best["genome"])

    @property
    def best_value(self) -> float:
        """The monitored value of the best network."""
        return float(self._best["value"])

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row for each trained epoch.

        Phase, cycle, clone, epoch (how long that network has been trained), what `fit` logs,
        seconds.
        """
        return self._log.history

    @cached_property
    def lineage(self) -> pd.DataFrame:
        """One row for each clone.

        Cycle, clone, change, fitness, selected, archive, gene, value (the monitored one), parent
        (the archive it came from), failure (the last line of why it failed).
        """
        return self._log.lineage

    def loaded(self) -> Result:
        """Load both networks now, while their archives are there; return this result.

        Raises:
            ArchiveError: The last network's is damaged or gone; for the best one's, a warning
                will do.
        """
        _ = self.model
        try:
            _ = self.best_model
        except ArchiveError as error:
            warn(f"The best network is not there: {error}")
        return self

    @property
    def archives(self) -> tuple[str, str]:
        """Names of the archives of the last and of the best network, relative to the folder."""
        last = self._last["archive"]
        return last, last if self._held is not self._last else self._best["archive"]

    @property
    def _last(self) -> Entry:
        return self._some(self._log.last)

    @property
    def _held(self) -> Entry:
        """The training whose network the last archive holds: the last one, or the best."""
        return self._log.held or self._last

    @property
    def _best(self) -> Entry:
        return self._some(self._log.best(self._mode))

    def _some(self, entry: Entry | None) -> Entry:
        if entry is None:
            raise MihaError(
                "A run must have finished its first training before it has a network. "
                f"Received: {str(self.run_dir)!r}, which has not. Wait for it."
            )
        return entry
