"""`MIHA`: what a user calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from miha.callbacks import Callback
from miha.executors.factory import choose_executor
from miha.integrations.keras_checks import is_keras_callback
from miha.mutations import Mutation, resolve
from miha.options import Budget, Execution, Search
from miha.records import Genome
from miha.report.live import Live
from miha.report.progress import make_progress
from miha.results.result import Result
from miha.run import checks
from miha.run.extension import schedule_in, warn_without_room
from miha.run.resume import choose_seed
from miha.run.session import Session
from miha.run.setup import Choices, Data, Setup, make_plan, set_up
from miha.run.ways import Request
from miha.search.budgets import choose_schedule
from miha.search.fitness import Fitness
from miha.search.plan import Plan
from miha.space import SearchSpace
from miha.storage.folder import Keep, RunFolder
from miha.utils.keywords import explains_call, explains_keywords
from miha.validation import check_policy

if TYPE_CHECKING:
    import keras

    Watcher: TypeAlias = Callback | keras.callbacks.Callback
    Watchers: TypeAlias = Watcher | Sequence[Watcher] | None

    from miha.trainer.protocol import Trainer

REPLACED = {
    "control": "Write search=miha.Search(control=...).",
    "restarts": "Write search=miha.Search(restarts=...).",
    "margin": "Write search=miha.Search(margin=...).",
    "rest": "Write search=miha.Search(rest=...).",
    "backtrack": "Write search=miha.Search(backtrack=...).",
    "anneal": "Write search=miha.Search(anneal=...).",
    "crossover": "Write search=miha.Search(crossover=...).",
    "restore_best": "Write search=miha.Search(restore_best=...).",
    "racing": "It did not pay, and is gone. Leave it out.",
    "adaptive": "It made no difference, and is gone. Leave it out.",
    "asynchronous": "A run now waits for every clone. Leave it out.",
    "max_seconds": "Write budget=miha.Budget(seconds=...).",
    "patience": "Write budget=miha.Budget(patience=...).",
    "target": "Write budget=miha.Budget(target=...).",
    "max_epochs": "Write epochs=...: the total is never exceeded.",
    "population": "Write execution=miha.Execution(population=...).",
    "compiler": "Write execution=miha.Execution(compiler=...).",
    "executor": "Write execution=miha.Execution(executor=...).",
    "data_memory": "Write execution=miha.Execution(data_memory=...).",
}
"""The new spelling of each keyword of version 0.3.0."""

NOT_OF_FIT = {
    "steps_per_epoch": "Give data that ends: `dataset.take(steps)`, say.",
    "validation_steps": "Give validation data that ends: `dataset.take(steps)`, say.",
    "validation_freq": "A network is evaluated after each epoch. Leave it out.",
    "initial_epoch": "A run goes on by itself when the script runs again. Leave it out.",
}
"""What `fit` takes, and a run has no use for."""

IN_CONSTRUCTOR = {
    name: f"Write miha.MIHA({name}=...)."
    for name in ("x", "y", "epochs", "batch_size", "validation_data", "callbacks", "verbose")
}
"""What `fit` is given, and `optimize` is not."""


@explains_keywords("miha.MIHA", REPLACED, NOT_OF_FIT)
class MIHA:
    """Trains one Keras network and mutates its hyperparameters while it learns.

    The network trains m epochs. Then, for c cycles, pop_size clones of it, each with one
    mutated hyperparameter, train n epochs; the fittest becomes the network and trains k epochs
    more. At the end it trains m epochs again: ``2 m + c (pop_size n + k)`` epochs in all.

    Example:
        ```python
        run = miha.MIHA(model, x, y, validation_data=(x_val, y_val), epochs=200, logs="logs/mnist")
        result = run.optimize()
        result.model.predict(x_test)  # plain Keras; `result.best_model` is the best of the run
        ```

    The constructor checks every argument, copies the network and takes one step on the first
    samples, which takes seconds. Nothing is trained or written before `optimize`.

    Source: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for
    optimizing neural network hyperparameters" (2021).

    Args (as in `fit`):
        model: The compiled network. It is not touched.
        x: Inputs: an array, or a structure of arrays, as in `fit`; memory-mapped ones and HDF5
            datasets among them. Or what gives batches ``(x, y)`` or ``(x, y, sample_weight)``:
            a `tf.data.Dataset` (in batches or not), a `keras.utils.PyDataset`, a PyTorch
            `DataLoader`, `miha.Batches`, or an iterable of them that has a length.
        y: Targets, likewise; None where ``x`` gives batches.
        batch_size: The batch size to begin with, at most the number of samples. By default that
            of the batches that ``x`` gives, and for arrays 32, or all samples where they are fewer.
        validation_data: ``(x, y)``, ``(x, y, sample_weight)``, or what gives batches; ``(x,)`` or
            ``x`` where there are no targets. Clones are then compared by what they have not been
            trained on: give it where you can.
        validation_split: Share of the last samples to validate on instead, 0 to 1.
        validation_batch_size: Batch size of evaluations; as ``batch_size`` by default.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss, one class for each sample.
        shuffle: Whether to shuffle the samples before each epoch.
        callbacks: `Callback` objects that watch the run, and callbacks of Keras, which are
            called for the network itself, and for the clones that become it, as in `fit`. One
            needs no list.
        verbose: 0: quiet; 1 or "auto": a progress bar, or lines where there is no terminal; 2:
            lines.

    Args (how long what is trained):
        epochs: All epochs that the run may train; it never trains more. Letters that are not
            given are chosen to fill the total: pop_size is 5, n and k are 3, 2 or 1, and c and m
            are such that the two ends have about a tenth of the epochs. 200 gives the defaults.
            None: what the letters make. A larger total goes on with the run in ``logs``, with
            its letters and more cycles.
        m: Epochs of the first and of the last training, at least 1; 10 by default.
        n: Epochs of each clone, at least 1; 3 by default.
        k: Epochs of each cycle's winner, at least 0; 3 by default.
        c: Cycles, at least 0; 10 by default. More cycles go on with the run in ``logs``.
        pop_size: Clones in each cycle, the control among them; 5 by default.

    Args (what mutates, and what it is judged by):
        mutations: Names of genes and `Mutation` objects. By default all that the network has but
            ``"label_smoothing"``; without validation data neither the learning rate nor what
            regularises, since less noise always pleases the training loss.
        space: What each gene may become.
        fitness: Any callable from a `Curve` to a number; level and slope by default.
        monitor: Name of the logged value that the fitness reads: ``"val_loss"`` by default;
            without validation data ``"eval_loss"``, the loss on the training data after the
            epoch, which no gene bends; ``"loss"`` where a network has no ``test_step``.
        mode: ``"min"`` or ``"max"``: how the monitored value is better; ``"auto"`` asks Keras.

    Args (policies):
        search: Who is in a population, and who wins: a `Search`.
        budget: What may end the run before its last cycle: a `Budget`.
        execution: Where and how clones train: an `Execution`.

    Args (the run and its folder):
        seed: Decides every random draw of the run, at least 0. None draws one and records it.
        logs: The run's folder: new, empty, or that of the same run, which then goes on where
            it was interrupted; after its end where ``c``, ``epochs`` or the budget is larger.
            ``logs/<date>-<time>`` by default.
        overwrite: Whether a run of other arguments, data or network in that folder is replaced.
        keep: Which archives stay: ``"all"``, ``"model"`` (the network's, without the clones'),
            ``"final"`` (the last) or ``"none"``. Unless none stays, the best does. While the run
            goes on, each of the others is deleted once nothing can need it.

    Raises:
        ArgumentError: An argument, the data or the network breaks a rule.
        RunExistsError: The folder has another run, or something else.
        JournalError: The folder's run is damaged.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: int | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        shuffle: bool = True,
        callbacks: Watchers = (),
        verbose: int | Literal["auto"] = 1,
        epochs: int | None = None,
        m: int | None = None,
        n: int | None = None,
        k: int | None = None,
        c: int | None = None,
        pop_size: int | None = None,
        mutations: Sequence[str | Mutation] | None = None,
        space: SearchSpace | None = None,
        fitness: Fitness | None = None,
        monitor: str | None = None,
        mode: str = "auto",
        search: Search = Search(),
        budget: Budget = Budget(),
        execution: Execution = Execution(),
        seed: int | None = None,
        logs: str | Path | None = None,
        overwrite: bool = False,
        keep: Keep = "all",
    ) -> None:
        check_policy("search", search, Search)
        check_policy("budget", budget, Budget)
        check_policy("execution", execution, Execution)
        checks.check_choices(keep, mode, verbose, monitor, logs)
        watching = checks.check_callbacks(callbacks)
        checks.check_search(space, fitness)
        checks.check_final_data(search, budget)
        letters = {"m": m, "n": n, "k": k, "c": c, "pop_size": pop_size}
        usual = choose_schedule(epochs, **letters, control=search.control)
        executor = choose_executor(execution.executor, execution.workers)
        wanted = None if mutations is None else resolve(mutations)

        # Absolute: a callback may change the working directory meanwhile.
        path = None if logs is None else Path(logs).absolute()
        folder = RunFolder(path or Path("logs"))
        schedule = usual
        if path is not None:
            folder.check_free()
            schedule = schedule_in(folder, usual, epochs, letters, search.control)
        seed = choose_seed(seed, folder, overwrite)

        setup = set_up(
            model,
            Data(
                x=x,
                y=y,
                sample_weight=sample_weight,
                class_weight=class_weight,
                validation_data=validation_data,
                validation_split=validation_split,
                batch_size=batch_size,
                validation_batch_size=validation_batch_size,
                shuffle=shuffle,
                memory=execution.data_memory,
                must_be_finite=execution.check_finite,
                final=search.final_data,
            ),
            space or SearchSpace(),
            genes=None if wanted is None else [mutation.gene for mutation in wanted],
            monitor=monitor,
            seed=seed,
            with_mirror=any(map(is_keras_callback, watching)),
        )
        choices = Choices(schedule, wanted, fitness, monitor, mode, seed, search, budget)
        self._plan = make_plan(choices, setup)
        self._trainer = setup.trainer
        self._session = Session(
            plan=self._plan,
            setup=setup,
            request=Request.of(execution),
            executor=executor,
            callbacks=_watchers(watching, verbose, self._plan, setup),
            path=path,
            overwrite=overwrite,
            keep=keep,
        )
        if self._session.check():
            warn_without_room(folder, usual, schedule, epochs)

    @property
    def seed(self) -> int:
        """What decides every random draw of the run."""
        return self._plan.seed

    @property
    def epochs(self) -> int:
        """All epochs of the run, ``2 m + c (pop_size n + k)``; with a budget, the most."""
        return self._plan.schedule.epochs

    @property
    def trainer(self) -> Trainer:
        """What trains the live network; its snapshot and traces can be looked at."""
        return self._trainer

    @property
    def genome(self) -> Genome:
        """The hyperparameters that the run begins with: the user's own."""
        return self._session.genome

    @explains_call("optimize", elsewhere=IN_CONSTRUCTOR)
    def optimize(self) -> Result:
        """Train the network and its clones; write the run's folder.

        A run that was interrupted goes on after its last finished training, and one that is
        finished returns its result.

        Returns:
            The trained network, and everything that happened.

        Raises:
            RunExistsError: The folder has another run, or a process is at work in it.
            StorageError: The disk is full, or the folder cannot be written.
            JournalError: The folder's run is damaged.
            MihaError: A mutation, a fitness or a callback of the user's raised, or every clone
                of three cycles in a row failed.
        """
        return self._session.run()


def _watchers(
    callbacks: Sequence[Callback | keras.callbacks.Callback],
    verbose: int | Literal["auto"],
    plan: Plan,
    setup: Setup,
) -> list[Callback]:
    """Return who watches the run: a file for `miha watch`, a bar, and what the user gives."""
    from miha.integrations.keras_callbacks import join_keras_callbacks

    live = Live(plan.monitor, plan.mode, plan.budget)
    progress = make_progress(verbose, plan.monitor, plan.mode, plan.budget)
    return [live, *progress, *join_keras_callbacks(callbacks, setup.trainer)]
