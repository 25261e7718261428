"""One run in its folder: begun, or gone on with, and finished."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from miha.archive.archive import largest_archive, pack, read
from miha.callbacks import Callback, notify
from miha.errors import ArchiveError, RunExistsError, RunStopped, StorageError
from miha.executors.factory import make_population_executor
from miha.executors.parallel import Workers
from miha.executors.protocol import Executor, Job
from miha.executors.training import Training
from miha.executors.worker import signature
from miha.results.result import Result
from miha.results.verdict import ending
from miha.run.extension import in_words
from miha.run.identity import check_same, describe_run
from miha.run.interrupts import resumable
from miha.run.loop import Loop
from miha.run.recorder import Recorder
from miha.run.resume import open_run
from miha.run.retention import FEW
from miha.run.setup import Setup
from miha.run.trainings import Trainings
from miha.run.ways import Request, Ways, decide, with_recorded_ways
from miha.search.budgets import announcement
from miha.search.plan import Plan
from miha.storage.checkpoint import Checkpoints
from miha.storage.folder import START, Keep, RunFolder, new_folder
from miha.storage.lock import locked
from miha.storage.logbook import Logbook
from miha.storage.text_log import run_log, say
from miha.trainer.protocol import XlaTrainer
from miha.utils.warn import warn


class Session:
    """A run and its folder.

    Args:
        plan: What the run shall do.
        setup: Data and trainer.
        request: Which ways the user wants it to go.
        executor: Starts workers in other processes; None: clones train in this one.
        callbacks: Who watches.
        path: The run's folder; None: one named by the time.
        overwrite: Whether another run in that folder is replaced.
        keep: Which archives stay at the end.
    """

    def __init__(
        self,
        plan: Plan,
        setup: Setup,
        request: Request,
        executor: Executor | None,
        callbacks: Sequence[Callback],
        path: Path | None,
        overwrite: bool,
        keep: Keep,
    ) -> None:
        self._plan = plan
        self._trainer = setup.trainer
        self._request = request
        # Described now: the user's network and mutations may be others after a run.
        self._description = describe_run(plan, setup.trainer)
        self._executor = executor
        self._callbacks = callbacks
        self._path = path
        self._overwrite = overwrite
        self._keep: Keep = keep
        # What the live network is now, it is no more after a run.
        self._start = setup.trainer.snapshot()
        self.genome = setup.trainer.genome
        if executor is not None:
            self._blueprint = setup.blueprint(executor)
            self._signature = signature(setup.trainer)

    def check(self) -> bool:
        """Raise unless the run can go as the user wants; nothing is written.

        Returns:
            Whether the folder has this run already; False where another would be replaced.

        Raises:
            ArgumentError: The trainer cannot do what is asked for.
            RunExistsError: The folder has another run.
        """
        self._request.check(self._trainer)
        if self._path is None or self._overwrite:
            return False
        folder = RunFolder(self._path)
        if folder.has_training:
            check_same(folder, with_recorded_ways(folder, self._description, self._request))
        return folder.has_training

    def run(self) -> Result:
        """Train what is not trained yet; return the result. See `MIHA.optimize`."""
        # Named only now: of two runs made in one second, both have their folder.
        self._path = self._path or new_folder(Path("logs").absolute())
        folder = RunFolder(self._path)
        is_new = not folder.has_training
        folder.create()
        workers = Workers(self._executor, self._job)
        with locked(folder.path), self._watched(), workers:
            self._description = decide(
                folder,
                self._description,
                self._request,
                self._trainer,
                self._plan.schedule,
            )
            if is_new and not self._request.tries_workers:
                # Nothing is written where there is no place for the workers.
                workers.start()
            journal, past = open_run(
                folder, self._plan, self._description, self._overwrite, self._check_space
            )
            checkpoints = Checkpoints(folder.path, self._request.checkpoint_seconds)
            recorder = Recorder(folder, journal, past, self._trainer, checkpoints)
            with run_log(folder.path / "run.log"), resumable(lambda: self._progress(recorder)):
                if past.is_finished:
                    result = self._finished_before(recorder)
                else:
                    result = self._train(recorder, workers)
                notify(self._callbacks, Callback.on_run_end, result)
        return result

    def _train(self, recorder: Recorder, workers: Workers) -> Result:
        """Train what is not trained yet."""
        archive = self._trainer.export(self._start, self.genome)
        recorder.folder.write_archive(START, pack(archive, {"genome": self.genome.to_dict()}))
        self._announce(recorder)
        try:
            self._loop(recorder, workers).run(self.genome, self._start)
        except RunStopped as stop:
            say(str(stop))
            warn(str(stop))
            # Not in the journal: the same script goes on from here.
            recorder.log.stopped = str(stop)
            return self._result(recorder.folder, recorder.log, "interrupted")
        recorder.end()
        return self._finish(recorder.folder, recorder.log)

    def _loop(
        self,
        recorder: Recorder,
        workers: Workers,
    ) -> Loop:
        ways = Ways.from_dict(self._description)
        # A run may go on with another backend, which cannot compile as this one can.
        if ways.xla is not None and isinstance(self._trainer, XlaTrainer):
            self._trainer.use_xla(ways.xla)
        training = Training(self._plan, self._trainer, self._callbacks, recorder.checkpoints)
        records = recorder.log.trainings
        if self._request.tries_workers:
            executor = make_population_executor(
                training, ways.clones_at_once, records=records, on_trial=workers
            )
        else:
            pool = workers.start()
            executor = make_population_executor(training, ways.clones_at_once, pool, records)
        trainings = Trainings(self._plan, training, recorder, self._callbacks, self._keep)
        return Loop(self._plan, trainings, executor, self._trainer.space)

    def _job(self) -> Job:
        """Return what workers in other processes need."""
        return Job(
            make_trainer=self._blueprint,
            seed=self._plan.seed,
            xla=Ways.from_dict(self._description).xla,
            pop_size=self._plan.schedule.pop_size,
            environment=self._blueprint.environment,
            signature=self._signature,
            device=self._trainer.device,
        )

    def _announce(self, recorder: Recorder) -> None:
        """Say what will be trained, and what is trained already."""
        plan = self._plan
        path = str(recorder.folder.path)
        say(announcement(plan.schedule, path, plan.budget))
        say(f"Seed {plan.seed}. {self._trainer.device}. Starts with {self.genome}")
        say(str(Ways.from_dict(self._description)))
        notify(self._callbacks, Callback.on_run_begin, plan.schedule, path)
        if recorder.past.trainings:
            say(f"Goes on: {self._progress(recorder)}")
            notify(self._callbacks, Callback.on_resume, recorder.past.trainings)
        extended = in_words(recorder.past)
        if extended:
            say(extended)
            notify(self._callbacks, Callback.on_decision, extended)

    def _finished_before(self, recorder: Recorder) -> Result:
        """Return the result of a run that an earlier process has finished."""
        self._announce(recorder)
        try:
            return self._finish(recorder.folder, recorder.past)
        except ArchiveError as error:
            raise RunExistsError(
                "A finished run returns its networks where they were kept. "
                f"Received: logs={str(recorder.folder.path)!r}, where one is missing or damaged: "
                f"{error} Delete that folder to train again, or choose another one."
            ) from error

    def _finish(self, folder: RunFolder, log: Logbook) -> Result:
        """Load the networks, then delete the archives that shall not stay."""
        result = self._result(folder, log, "finished")
        folder.keep(self._keep, result.archives)
        say(f"Ends with {result.genome}")
        for sentence in ending(result):
            say(sentence)
        return result

    def _result(
        self,
        folder: RunFolder,
        log: Logbook,
        state: str,
    ) -> Result:
        def load(path: Path) -> Any:
            return self._trainer.load(read(path)[1])

        plan = self._plan
        return Result(plan.monitor, folder.path, state, log, plan.mode, load).loaded()

    def _check_space(self, folder: RunFolder, done: int) -> None:
        """Raise unless the disk has space for the archives of the trainings to come."""
        missing = self._plan.trainings - done
        if self._keep != "all":
            # The others are deleted while the run goes on.
            own = self._plan.schedule.c if self._keep == "model" else 0
            missing = min(missing, own + self._plan.schedule.pop_size + FEW)
        archive = self._trainer.export(self._start, self.genome)
        may_grow = any(mutation.gene == "optimizer" for mutation in self._plan.mutations)
        size = largest_archive(archive, self._start) if may_grow else len(archive)
        try:
            folder.check_space(size * missing, missing)
        except StorageError as error:
            if not self._plan.budget.is_open:
                raise
            # A budget may end the run long before; two archives it has in any case.
            folder.check_space(size * 2, 2)
            warn(f"The run may need less, but: {error}")

    def _progress(self, recorder: Recorder) -> str:
        most = "at most " if self._plan.is_open else ""
        return (
            f"{recorder.written} of {most}{self._plan.trainings} trainings are on the disk, "
            f"in {str(recorder.folder.path)!r}."
        )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Close the callbacks however the run ends."""
        with contextlib.ExitStack() as stack:
            for callback in self._callbacks:
                stack.callback(callback.close)
            yield
