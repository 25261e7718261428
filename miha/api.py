"""`MIHA`: what a user calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from miha.archive.archive import largest_archive, pack, read
from miha.callbacks import Callback, notify
from miha.errors import ArchiveError, RunExistsError, RunStopped, StorageError
from miha.executors.crew import Crew
from miha.executors.factory import Where, choose_executor, make_cycle_trainer
from miha.executors.protocol import Executor, Job, Workers
from miha.executors.training import Training
from miha.executors.worker import signature
from miha.integrations.keras_checks import is_keras_callback
from miha.mutations import Mutation, resolve
from miha.records import Genome, Schedule
from miha.report.progress import announcement, make_progress
from miha.results.result import Result
from miha.run import checks
from miha.run.identity import check_same, describe_run
from miha.run.interrupts import resumable
from miha.run.loop import Loop
from miha.run.recorder import Recorder
from miha.run.resume import choose_seed, open_run
from miha.run.setup import gather
from miha.run.ways import Choices, Compiler, Population, Wishes, described, settle
from miha.search.budgets import check_budgets
from miha.search.crossover import MOST
from miha.search.fitness import Fitness, LevelAndSlope
from miha.search.plan import Plan, possible_mutations, warn_of_unused
from miha.space import SearchSpace
from miha.storage.folder import START, Keep, RunFolder, new_folder
from miha.storage.lock import locked
from miha.storage.logbook import Logbook
from miha.storage.text_log import run_log, say
from miha.utils.warn import warn

if TYPE_CHECKING:
    import keras

    from miha.trainer.blueprint import Blueprint
    from miha.trainer.protocol import Trainer, XlaTrainer


class MIHA:
    """Trains one Keras network and mutates its hyperparameters while it learns.

    The network trains m epochs. Then, for c cycles, pop_size clones of it, each with one
    mutated hyperparameter, train n epochs; the fittest becomes the network and trains k epochs
    more. At the end it trains m epochs again: ``2 m + c (pop_size n + k)`` epochs in all.

    Source: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for
    optimizing neural network hyperparameters" (2021).

    Args:
        model: The compiled network. It is not touched.
        x: Inputs: an array, or a structure of arrays, as in `fit`; memory-mapped ones and HDF5
            datasets among them. Or what gives batches ``(x, y)`` or ``(x, y, sample_weight)``:
            a `tf.data.Dataset` (in batches or not), a `keras.utils.PyDataset`, a PyTorch
            `DataLoader`, `miha.Batches`, or an iterable of them that has a length.
        y: Targets, likewise; None where ``x`` gives batches.
        m: Epochs of the first and of the last training, at least 1.
        n: Epochs of each clone, at least 1.
        k: Epochs of each cycle's winner, at least 0.
        c: Cycles, at least 0.
        pop_size: Clones in each cycle, the control among them.
        batch_size: The batch size to begin with, at most the number of samples. By default that
            of the batches that ``x`` gives, and 32 for arrays.
        validation_data: ``(x, y)``, ``(x, y, sample_weight)``, or what gives batches. Clones are
            then compared by what they have not been trained on: give it where you can.
        validation_split: Share of the last samples to validate on instead, 0 to 1.
        validation_batch_size: Batch size of evaluations; as ``batch_size`` by default.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss.
        data_memory: Bytes of arrays to hold on the device: larger ones are read in parts, with
            the same result. A quarter of its free memory by default.
        shuffle: Whether to shuffle the samples before each epoch.
        seed: Decides every random draw of the run, at least 0. None draws one and records it.
        logs: The run's folder: new, empty, or that of the same run, which then goes on where
            it was interrupted. ``logs/<date>-<time>`` by default.
        overwrite: Whether a run of other arguments, data or network in that folder is replaced.
        keep: Which archives stay at the end: ``"all"``, ``"model"`` (the network's, without the
            clones'), ``"final"`` (the last) or ``"none"``. Unless none stays, the best does.
        mutations: Names of genes and `Mutation` objects. By default all that the network has but
            ``"loss"`` and ``"label_smoothing"``; without validation data neither
            ``"learning_rate"``, ``"weight_decay"``, ``"dropout"`` nor ``"noise"``, which the
            training loss rewards at the price of the end.
        space: What each gene may become.
        fitness: Any callable from a `Curve` to a number; level and slope by default.
        monitor: Name of the logged value that the fitness reads: ``"val_loss"`` by default;
            without validation data ``"eval_loss"``, the loss on the training data after the
            epoch, which no gene bends.
        mode: ``"min"`` or ``"max"``: how the monitored value is better; ``"auto"`` asks Keras.
        control: Whether clone 0 of each population stays unchanged.
        restarts: In how many cycles, from the first, the last clone begins anew: with fresh
            weights, an adaptive optimizer and one rectifier for all layers: Adam at 0.001, relu
            and batches of 32 in the first, drawn in the others. Never where that would leave no
            mutant.
        crossover: Whether the two fittest clones of a cycle join: their child, and the mean of
            their weights where that makes sense, compete with both over n epochs more each.
        racing: Whether clones that are behind after half of their n epochs stop there, and their
            epochs go to more clones: successive halving, within the same epochs in all.
        adaptive: Whether mutations that paid off in this run are drawn more often.
        margin: By how many times the noise of the monitored value, estimated from the epochs
            before, a mutant must be better than the control to be selected; 0: by any gain.
        rest: Whether, after a population that was not worth its epochs, a cycle trains the network
            alone for all epochs of its population; after each further one running, more cycles.
        backtrack: The share by which the network's monitored value may be worse than the best
            one of the run before it is given up for that one: 1 where it is twice as large, or has
            diverged; None: never.
        anneal: Whether the learning rate falls along a cosine in the last m epochs.
        max_seconds: Seconds that the run may train, of all its processes. No cycle is begun that
            would leave, by the epochs measured so far, too little for itself and the last m.
        max_epochs: Epochs that the run may train, at least 2 m: no cycle is begun that would leave
            too few for itself and the last m.
        patience: Cycles in a row without a better monitored value after which the last m epochs
            follow.
        target: The monitored value that ends the run after the cycle in which any network has
            reached it: with that network, without the last m epochs.
        restore_best: Whether the run ends with its best network, by the monitored value, where
            that is not the last one; a clone may be it.
        population: ``"fused"``: clones of one optimizer class and batch size train together, in
            one program, on Keras' JAX backend; ``"sequential"``: one after another; ``"auto"``:
            together on a GPU with enough memory where that is measured to be faster.
        compiler: On TensorFlow ``"graph"``, the default, whose weights are those of `fit` bit for
            bit; ``"xla"``, which rounds otherwise and compiles each genome anew; or ``"auto"``:
            XLA for trainings so long that it is measured to pay. A network that was compiled with
            ``jit_compile=True`` has chosen already.
        executor: Where clones train: ``"local"``: in this process; ``"ray"`` or a
            `miha.RayExecutor`: on workers of Ray, on this machine or on a cluster, with the same
            numbers; or an executor of your own.
        asynchronous: Whether a cycle's winner is chosen, and trained on, when this share of the
            population has come from the workers, the control included, and no clone waits for a
            worker; True: 0.75. Those that are late train on; they are recorded, but no longer
            compete. Which ones they are depends on the time that each takes.
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
        batch_size: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        data_memory: int | None = None,
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
        restarts: int = 4,
        crossover: bool = False,
        racing: bool = False,
        adaptive: bool = False,
        margin: float = 1.0,
        rest: bool = True,
        backtrack: float | None = 1.0,
        anneal: bool = True,
        max_seconds: float | None = None,
        max_epochs: int | None = None,
        patience: int | None = None,
        target: float | None = None,
        restore_best: bool = False,
        population: Population = "auto",
        compiler: Compiler | None = None,
        executor: Where | Executor = "local",
        asynchronous: bool | float = False,
        callbacks: Sequence[Callback | keras.callbacks.Callback] = (),
        verbose: int = 1,
    ) -> None:
        schedule = Schedule(m, n, k, c, pop_size)
        self._executor = choose_executor(executor)
        is_away = self._executor is not None
        search = checks.check_switches(
            *(schedule, is_away, restarts, margin, backtrack, asynchronous),
            control=control,
            crossover=crossover,
            racing=racing,
            adaptive=adaptive,
            rest=rest,
            anneal=anneal,
            restore_best=restore_best,
        )
        further = MOST * search["crossover"]
        budgets = check_budgets(max_seconds, max_epochs, patience, target, schedule, further)
        checks.check_choices(keep, mode, verbose, callbacks)
        checks.check_search(space, fitness)
        checks.check_population(population, is_away)
        if data_memory is not None:
            checks.check_integer("data_memory", data_memory, 0)
        wishes = None if mutations is None else resolve(mutations)
        space = space or SearchSpace()
        warn_of_unused(wishes, space)
        self._keep: Keep = keep
        # Absolute: a callback may go elsewhere meanwhile.
        self._logs = None if logs is None else Path(logs).absolute()
        self._overwrite = overwrite
        folder = RunFolder(self._logs or Path("logs"))
        if self._logs is not None:
            folder.check_free()
        self.seed = choose_seed(seed, folder, overwrite)

        material = gather(
            model,
            {"x": x, "y": y, "sample_weight": sample_weight, "validation_data": validation_data},
            {
                "class_weight": class_weight,
                "validation_split": validation_split,
                "room": data_memory,
            },
            *(batch_size, validation_batch_size, monitor),
            with_mirror=any(map(is_keras_callback, callbacks)),
            space=space,
            shuffle=shuffle,
            seed=self.seed,
            genes=[mutation.gene for mutation in wishes or ()],
        )
        trainer = material.trainer
        monitor, direction = checks.resolve_monitor(
            monitor or material.monitor, mode, trainer.metrics
        )
        checks.check_ruler(monitor, trainer.space)
        self._trainer, self._start, self._genome = trainer, trainer.snapshot(), trainer.genome
        self._blueprint = self._executor and material.blueprint(self._executor)
        self._plan = Plan(
            schedule=schedule,
            mutations=possible_mutations(
                *(wishes, trainer.genome, trainer.space),
                *(material.has_validation, material.rebatches),
            ),
            fitness=fitness or LevelAndSlope(),
            monitor=monitor,
            mode=direction,
            budgets=budgets,
            **search,
            seed=self.seed,
        )
        self._callbacks = self._watchers(callbacks, verbose)
        # Clones that train together would round otherwise than those of workers.
        alone = "sequential" if is_away and population == "auto" else population
        self._wishes = Wishes(alone, compiler)
        self._wishes.check(trainer)
        # Now: neither the network nor a mutation of the user's is as it was after a run.
        self._description = describe_run(self._plan, trainer)
        checks.check_mutations(self._plan.mutations, trainer.genome, trainer.space, schedule)
        if folder.has_run and not overwrite:
            check_same(folder, described(folder, self._description, self._wishes))

    @property
    def epochs(self) -> int:
        """All epochs that the run trains: ``2 m + c (pop_size n + k)``.

        With ``max_epochs``, those of the cycles for which it has room; with ``max_seconds``,
        ``patience`` or ``target`` the most that they can be.
        """
        return self._plan.longest.epochs

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
        is_new = not folder.has_run
        folder.create()
        crew = Crew(self._executor, self._job)
        with locked(folder.path), self._watched(), crew:
            self._description = settle(
                folder,
                self._description,
                self._wishes,
                self._trainer,
                self._plan.schedule.pop_size,
            )
            if is_new:  # Nothing is written where there is no place for the workers.
                crew.begin()
            journal, past = open_run(folder, self._description, self._overwrite, self._check_room)
            recorder = Recorder(folder, journal, past, self._trainer)
            with run_log(folder.path / "run.log"), resumable(partial(self._progress, recorder)):
                is_over = past.is_finished
                result = self._finished(recorder) if is_over else self._run(recorder, crew)
                notify(self._callbacks, Callback.on_run_end, result)
        return result

    def _run(self, recorder: Recorder, crew: Crew) -> Result:
        """Train what is not trained yet."""
        workers = crew.begin()
        archive = self._trainer.export(self._start, self._genome)
        recorder.folder.write_archive(START, pack(archive, {"genome": self._genome.to_dict()}))
        self._begin(recorder)
        try:
            self._loop(recorder, workers).run(self._genome)
        except RunStopped as stop:
            say(str(stop))
            return self._result(recorder.folder, recorder.log, "interrupted")
        recorder.end()
        return self._finish(recorder.folder, recorder.log)

    def _loop(self, recorder: Recorder, workers: Workers | None) -> Loop:
        training = Training(self._plan, self._trainer, self._callbacks)
        space, start = self._trainer.space, self._start
        choices = Choices.described(self._description)
        # A run may go on with another backend, which has other ways.
        if choices.xla_from is not None and self._trainer.compiler == "graph":
            cast("XlaTrainer", self._trainer).compile_from(choices.xla_from)
        trainings = recorder.log.trainings
        cycles = make_cycle_trainer(training, choices.clones_at_once, workers, trainings)
        return Loop(self._plan, training, cycles, space, start, recorder, self._callbacks)

    def _job(self) -> Job:
        """Return what workers in other processes need."""
        return Job(
            make_trainer=cast("Blueprint", self._blueprint),
            seed=self.seed,
            xla_from=Choices.described(self._description).xla_from,
            pop_size=self._plan.candidates,
            environment={"KERAS_BACKEND": self._trainer.backend},
            signature=signature(self._trainer),
            device=self._trainer.device,
        )

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
        missing = self._plan.longest.trainings - done
        archive = self._trainer.export(self._start, self._genome)
        changes = any(mutation.gene == "optimizer" for mutation in self._plan.mutations)
        size = largest_archive(archive, self._start) if changes else len(archive)
        try:
            folder.check_room(size * missing, missing)
        except StorageError as error:
            if not self._plan.budgets.is_open:
                raise
            folder.check_room(size * 2, 2)
            warn(f"The run may need less, but: {error}")

    def _begin(self, recorder: Recorder) -> None:
        plan, folder = self._plan, str(recorder.folder.path)
        say(announcement(plan.longest, folder, plan.budgets))
        say(f"Seed {plan.seed}. {self._trainer.device}. Starts with {self._genome}")
        say(str(Choices.described(self._description)))
        notify(self._callbacks, Callback.on_run_begin, plan.longest, folder)
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
        total, folder = self._plan.longest.trainings, str(recorder.folder.path)
        most = "at most " if self._plan.is_open else ""
        return f"{recorder.written} of {most}{total} trainings are on the disk, in {folder!r}."

    def _watchers(
        self, callbacks: Sequence[Callback | keras.callbacks.Callback], verbose: int
    ) -> list[Callback]:
        """Return who watches the run: a progress bar, and what the user gives."""
        from miha.integrations.keras_callbacks import join_keras_callbacks

        progress = make_progress(verbose, self._plan.monitor, self._plan.budgets)
        return [*progress, *join_keras_callbacks(callbacks, self._trainer)]

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Close the callbacks however the run ends."""
        with contextlib.ExitStack() as stack:
            for callback in self._callbacks:
                stack.callback(callback.close)
            yield
