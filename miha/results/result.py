"""What a run returns, and what can be read of a run at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import ArchiveError, JournalError, MihaError
from miha.records import Genome, Judge, Mode, TrainingRecord
from miha.replays.schedule import HyperparameterSchedule
from miha.results.delegates import Delegates
from miha.results.trials import RunView
from miha.search.best import best_network
from miha.search.fitness import LevelAndSlope
from miha.storage.folder import RunFolder
from miha.storage.logbook import Logbook
from miha.utils.warn import warn

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Result(Delegates):
    """The outcome of a run, or what there is of it so far.

    Attributes:
        monitor: Name of the monitored value, e.g. ``"val_loss"``.
        run_dir: The run's folder.
        state: ``"finished"``, ``"running"`` (a process is at work in the folder) or
            ``"interrupted"``.
        log: The finished trainings and the winners, as records.
        mode: Whether the monitored value is better small or large.
    """

    monitor: str
    run_dir: Path
    state: str
    log: Logbook = field(repr=False)
    mode: Mode = field(repr=False)
    _load: Callable[[Path], Any] = field(repr=False)

    @cached_property
    def view(self) -> RunView:
        """The run as figures need it, made once: what is read of a run does not change."""
        return RunView.of(self)

    @property
    def judge(self) -> Judge:
        """What the best network is the best in."""
        values = self.arguments.get("judge")
        # Of a run of version 0.3.0, the best is the one with the best monitored value.
        return Judge(self.monitor, self.mode) if values is None else Judge(**values)

    @property
    def has_own_fitness(self) -> bool:
        """Whether the user gave a fitness; else people need not see its numbers."""
        default = repr(LevelAndSlope())
        try:
            return bool(self.arguments.get("fitness", default) != default)
        # The folder may have been moved or deleted since.
        except JournalError:
            return False

    @property
    def stopped(self) -> str | None:
        """Why the run went to its end before its last cycle, as a sentence; None: it did not.

        Where a callback of Keras stopped it, the run is not at its end, and its state says so.
        """
        return self.log.stopped

    @cached_property
    def model(self) -> keras.Model:
        """The best network, plain Keras, compiled with its final optimizer and its state.

        With ``Search(restore_best=False)``, the last one.
        """
        return self._load(self.run_dir / self.archives[0])

    @property
    def genome(self) -> Genome:
        """The hyperparameters that `model` has."""
        return self._resulting.genome

    @property
    def schedule(self) -> HyperparameterSchedule:
        """The hyperparameters that led to `model`, segment by segment; `miha.replay` follows it."""
        last = self._resulting
        description = RunFolder(self.run_dir).description()
        arguments = description["arguments"]
        # Runs of version 0.3.0 have their switches beside the other arguments.
        switches = arguments.get("search", arguments)
        return HyperparameterSchedule.along(
            records=self.log.trainings,
            last=last,
            anneal=bool(switches.get("anneal", False)),
            seed=description["seed"],
            xla=(description.get("choices") or {}).get("xla"),
            augmentation=arguments.get("data", {}).get("augmentation", ()),
        )

    @cached_property
    def best_model(self) -> keras.Model:
        """The network of the run with the best monitored value: the last or another.

        With ``Search(final_data="all")``, the last one.
        """
        return self._load(self.run_dir / self.archives[1])

    @property
    def best_genome(self) -> Genome:
        """The hyperparameters of the best network."""
        return self.best.genome

    @property
    def best_value(self) -> float:
        """The monitored value of the best network.

        With ``Search(final_data="all")``, one of data that it was trained on.
        """
        return self.best.value

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row for each trained epoch.

        Phase, cycle, clone, epoch (how long that network has been trained), what `fit` logs,
        seconds.
        """
        return self.log.history

    @cached_property
    def lineage(self) -> pd.DataFrame:
        """One row for each clone.

        Cycle, clone, change, fitness, selected, archive, gene, value (the monitored one), gain (by
        how much that is better than the control's; missing where there is none), parent (the
        archive it came from), mate (a child's second parent), failure (the last line of why
        it failed), reason (why it was selected or not).
        """
        return self.log.lineage

    def loaded(self) -> Result:
        """Load both networks now, while their archives are there; return this result.

        Raises:
            ArchiveError: The last network's archive is damaged or gone. Of the best one's,
                there is a warning.
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
        last = self._last
        # A restored network is the best one, and its archive is the last one, too.
        best = self.best if self._resulting is last else last
        return str(last.archive), str(best.archive)

    @property
    def _last(self) -> TrainingRecord:
        return self._finished(self.log.last)

    @property
    def _resulting(self) -> TrainingRecord:
        return self._finished(self.log.resulting)

    @property
    def best(self) -> TrainingRecord:
        """The training whose network is the run's best; the last where none has a value."""
        if self.arguments.get("judge") is None:
            # As it was in version 0.3.0: the first of equals.
            return self._finished(self.log.best(self.mode))
        best = best_network(self.log.trainings, self.judge)
        return self._finished(best or self.log.last)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What the run was called with, as `run.json` describes it."""
        arguments: dict[str, Any] = RunFolder(self.run_dir).description()["arguments"]
        return arguments

    def _finished(self, record: TrainingRecord | None) -> TrainingRecord:
        if record is None:
            raise MihaError(
                "A run must have finished its first training before it has a network. "
                f"Received: {str(self.run_dir)!r}, which has not. Wait for it."
            )
        return record
