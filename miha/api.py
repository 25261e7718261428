"""`MIHA`: what a user calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha import checks
from miha.archive import largest_archive, pack, read
from miha.callbacks import Callback, notify
from miha.errors import ArchiveError, RunExistsError, RunStopped
from miha.fitness import Fitness, LevelAndSlope
from miha.folder import START, Keep, RunFolder, new_folder
from miha.identity import check_same, describe_run
from miha.interrupts import resumable
from miha.keras_callbacks import is_keras_callback
from miha.lock import locked
from miha.logbook import Logbook
from miha.loop import Loop
from miha.mutations import Mutation, resolve
from miha.opening import choose_seed, open_run
from miha.plan import Plan, possible_mutations
from miha.progress import announcement, make_progress
from miha.recorder import Recorder
from miha.records import Genome, Schedule
from miha.result import Result
from miha.runlog import run_log, say
from miha.space import SearchSpace

if TYPE_CHECKING:
    import keras

    from miha.trainer.protocol import Trainer


class MIHA:
    """Trains one Keras network and mutates its hyperparameters while it learns.

    The network trains m epochs. Then, for c cycles, pop_size clones of it, each with one
    mutated hyperparameter, train n epochs; the fittest becomes the network and trains k epochs
    more. At the end it trains m epochs again: ``2 m + c (pop_size n + k)`` epochs in all.

    Source: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for
    optimizing neural network hyperparameters" (2021).

    Args:
        model: The compiled network. It is not touched.
        x: Inputs: an array, or a structure of arrays, as in `fit`.
        y: Targets, likewise.
        m: Epochs of the first and of the last training, at least 1.
        n: Epochs of each clone, at least 1.
        k: Epochs of each cycle's winner, at least 0.
        c: Cycles, at least 0.
        pop_size: Clones in each cycle, the control among them.
        batch_size: The batch size to begin with, at most the number of samples.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``. Clones are then compared by
            what they have not been trained on: give it where you can.
        validation_split: Share of the last samples to validate on instead, 0 to 1.
        validation_batch_size: Batch size of evaluations; as ``batch_size`` by default.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss.
        shuffle: Whether to shuffle the samples before each epoch.
        seed: Decides every random draw of the run, at least 0. None draws one and records it.
        logs: The run's folder: new, empty, or that of the same run, which then goes on where
            it was interrupted. ``logs/<date>-<time>`` by default.
        overwrite: Whether a run of other arguments, data or network in that folder is replaced.
        keep: Which archives stay at the end: ``"all"``, ``"model"`` (the network's, without the
            clones'), ``"final"`` (the last) or ``"none"``. Unless none stays, the best does.
        mutations: Names (``"optimizer"``, ``"activation"``, ``"batch_size"``,
            ``"learning_rate"``) and `Mutation` objects. All four by default; without validation
            data not the learning rate, which training loss rewards at the price of the end.
        space: What each gene may become.
        fitness: Any callable from a `Curve` to a number; level and slope by default.
        monitor: Name of the logged value that the fitness reads: ``"val_loss"`` by default;
            without validation data ``"eval_loss"``, the loss on the training data after the
            epoch, which no gene bends.
        mode: ``"min"`` or ``"max"``: how the monitored value is better; ``"auto"`` asks Keras.
        control: Whether clone 0 of each population stays unchanged.
        callbacks: `Callback` objects that watch the run, and callbacks of Keras, which are
            called for the network itself, and for the clones that become it, as in `fit`.
        verbose: 0: quiet; 1: a progress bar, or lines where there is no terminal; 2: lines.

    Raises:
        ArgumentError: An argument, the data or the network breaks a rule.
        RunExistsError: The folder holds another run, or something else.
        JournalError: The folder's run is damaged.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any = None,
        *,
        m: int = 10,
        n: int = 3,
        k: int = 3,
        c: int = 10,
        pop_size: int = 5,
        batch_size: int = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        logs: str | Path | None = None,
        overwrite: bool = False,
        keep: Keep = "all",
        mutations: Sequence[str | Mutation] | None = None,
        space: SearchSpace | None = None,
        fitness: Fitness | None = None,
        monitor: str | None = None,
        mode: str = "auto",
        control: bool = True,
        callbacks: Sequence[Callback | keras.callbacks.Callback] = (),
        verbose: int = 1,
    ) -> None:
        schedule = Schedule(m, n, k, c, pop_size)
        checks.check_schedule(schedule, control)
        checks.check_choices(keep, mode, verbose, callbacks)
        checks.check_search(space, fitness)
        wishes = None if mutations is None else resolve(mutations)
        self._keep: Keep = keep
        # Absolute: a callback may go elsewhere meanwhile.
        self._logs = None if logs is None else Path(logs).absolute()
        self._overwrite = overwrite
        folder = RunFolder(self._logs or Path("logs"))
        if self._logs is not None:
            folder.check_free()
        self.seed = choose_seed(seed, folder, overwrite)

        from miha.trainer import data, factory
        from miha.trainer.following import join_keras_callbacks

        arrays = data.prepare(x, y, sample_weight, class_weight, validation_data, validation_split)
        has_validation = arrays[1] is not None
        trainer = factory.make_trainer(
            model,
            *arrays,
            batch_size=checks.check_batch_size("batch_size", batch_size, arrays[0].samples),
            validation_batch_size=checks.check_integer(
                "validation_batch_size",
                batch_size if validation_batch_size is None else validation_batch_size,
                1,
            ),
            space=space or SearchSpace(),
            shuffle=shuffle,
            evaluate_training=monitor is None or monitor.startswith("eval_"),
            seed=self.seed,
            with_mirror=any(map(is_keras_callback, callbacks)),
        )
        monitor, direction = checks.resolve_monitor(
            monitor or ("val_loss" if has_validation else "eval_loss"), mode, trainer.metrics
        )
        self._trainer, self._start, self._genome = trainer, trainer.snapshot(), trainer.genome
        self._plan = Plan(
            schedule=schedule,
            mutations=possible_mutations(wishes, trainer.genome, has_validation),
            fitness=fitness or LevelAndSlope(),
            monitor=monitor,
            mode=direction,
            control=control,
            seed=self.seed,
        )
        watchers = join_keras_callbacks(callbacks, trainer)
        self._callbacks: list[Callback] = [*make_progress(verbose, monitor), *watchers]
        # Now: neither the network nor a mutation of the user's is as it was after a run.
        self._description = describe_run(self._plan, trainer)
        checks.check_mutations(self._plan.mutations, trainer.genome, trainer.space, schedule)
        if folder.has_run and not overwrite:
            check_same(folder, self._description)

    @property
    def epochs(self) -> int:
        """All epochs that the run trains: ``2 m + c (pop_size n + k)``."""
        return self._plan.schedule.epochs

    @property
    def trainer(self) -> Trainer:
        """What trains the live network; its snapshot and traces can be looked at."""
        return self._trainer

    @property
    def genome(self) -> Genome:
        """The hyperparameters that the run begins with: the user's own."""
        return self._genome

    def optimize(self) -> Result:
        """Train the network and its clones; write the run's folder.

        A run that was interrupted goes on after its last finished training, and one that is
        finished returns its result.

        Returns:
            The trained network, and everything that happened.

        Raises:
            RunExistsError: The folder holds another run, or a process is at work in it.
            StorageError: The disk is full, or the folder cannot be written.
            JournalError: The folder's run is damaged.
            MihaError: A mutation, a fitness or a callback of the user's raised, or every clone
                of three cycles in a row failed.
        """
        # Named only now: of two runs made in one second, both have a folder of their own.
        self._logs = self._logs or new_folder(Path("logs").absolute())
        folder = RunFolder(self._logs)
        folder.create()
        with locked(folder.path), self._watched():
            journal, past = open_run(folder, self._description, self._overwrite, self._check_room)
            recorder = Recorder(folder, journal, past, self._trainer)
            with run_log(folder.path / "run.log"), resumable(partial(self._progress, recorder)):
                result = self._finished(recorder) if past.is_finished else self._run(recorder)
                notify(self._callbacks, Callback.on_run_end, result)
        return result

    def _run(self, recorder: Recorder) -> Result:
        """Train what is not trained yet."""
        archive = self._trainer.export(self._start, self._genome)
        recorder.folder.write_archive(START, pack(archive, {"genome": self._genome.to_dict()}))
        self._begin(recorder)
        loop = Loop(self._plan, self._trainer, self._start, recorder, self._callbacks)
        try:
            loop.run(self._genome)
        except RunStopped as stop:
            say(str(stop))
            return self._result(recorder.folder, recorder.log, "interrupted")
        recorder.end()
        return self._finish(recorder.folder, recorder.log)

    def _finished(self, recorder: Recorder) -> Result:
        """Return the result of a run that an earlier process has finished."""
        self._begin(recorder)
        try:
            return self._finish(recorder.folder, recorder.past)
        except ArchiveError as error:
            raise RunExistsError(
                "A finished run returns its networks where they were kept. "
                f"Received: logs={str(recorder.folder.path)!r}, where one is missing or damaged: "
                f"{error} Delete that folder to train anew, or choose another one."
            ) from error

    def _check_room(self, folder: RunFolder, done: int) -> None:
        """Raise unless the disk has room for the archives of the trainings to come."""
        missing = self._plan.schedule.trainings - done
        archive = self._trainer.export(self._start, self._genome)
        changes = any(mutation.gene == "optimizer" for mutation in self._plan.mutations)
        size = largest_archive(archive, self._start) if changes else len(archive)
        folder.check_room(size * missing, missing)

    def _begin(self, recorder: Recorder) -> None:
        plan, folder = self._plan, str(recorder.folder.path)
        say(announcement(plan.schedule, folder))
        say(f"Seed {plan.seed}. {self._trainer.device}. Starts with {self._genome}")
        notify(self._callbacks, Callback.on_run_begin, plan.schedule, folder)
        if recorder.past.trainings:
            say(f"Goes on: {self._progress(recorder)}")
            notify(self._callbacks, Callback.on_resume, recorder.past.trainings)

    def _finish(self, folder: RunFolder, log: Logbook) -> Result:
        """Load the networks, then delete the archives that shall not stay."""
        result = self._result(folder, log, "finished")
        folder.keep(self._keep, result.archives)
        say(f"Ends with {result.genome}; best {result.monitor} {result.best_value:.5g}")
        return result

    def _result(self, folder: RunFolder, log: Logbook, state: str) -> Result:
        plan, load = self._plan, self._trainer.load
        return Result(
            plan.monitor, folder.path, state, log, plan.mode, lambda path: load(read(path)[1])
        ).loaded()

    def _progress(self, recorder: Recorder) -> str:
        total, folder = self._plan.schedule.trainings, str(recorder.folder.path)
        return f"{recorder.written} of {total} trainings are on the disk, in {folder!r}."

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Close the callbacks however the run ends."""
        with contextlib.ExitStack() as stack:
            for callback in self._callbacks:
                stack.callback(callback.close)
            yield
