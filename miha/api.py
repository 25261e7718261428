"""`MIHA`: what a user calls."""

from __future__ import annotations

import contextlib
import datetime
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha import checks
from miha.callbacks import Callback, notify
from miha.errors import MihaWarning
from miha.fitness import Fitness, LevelAndSlope
from miha.journal import Keep, RunFolder
from miha.logbook import write_tables
from miha.loop import Loop
from miha.mutations import MUTATIONS, Mutation, resolve
from miha.progress import announcement, make_progress
from miha.randomness import draw_seed
from miha.records import Genome, Network, Schedule
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
        logs: The run's folder, new or empty. ``logs/<date>-<time>`` by default.
        keep: Which archives stay at the end: ``"all"``, ``"model"`` (the network's, without the
            clones'), ``"final"`` (the last) or ``"none"``.
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
        callbacks: `Callback` objects that watch the run.
        verbose: 0: quiet; 1: a progress bar, or lines where there is no terminal; 2: lines.

    Raises:
        ArgumentError: An argument, the data or the network breaks a rule.
        RunExistsError: The folder holds something already.
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
        keep: Keep = "all",
        mutations: Sequence[str | Mutation] | None = None,
        space: SearchSpace | None = None,
        fitness: Fitness | None = None,
        monitor: str | None = None,
        mode: str = "auto",
        control: bool = True,
        callbacks: Sequence[Callback] = (),
        verbose: int = 1,
    ) -> None:
        schedule = Schedule(m, n, k, c, pop_size)
        checks.check_schedule(schedule, control)
        checks.check_choices(keep, mode, verbose, callbacks)
        checks.check_search(space, fitness)
        wishes = None if mutations is None else resolve(mutations)
        self._keep: Keep = keep
        self._logs = None if logs is None else Path(logs)
        if self._logs is not None:
            RunFolder(self._logs).check_free()
        self.seed = draw_seed() if seed is None else checks.check_integer("seed", seed, 0)

        from miha.trainer import data, factory

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
        )
        monitor, direction = checks.resolve_monitor(
            monitor or ("val_loss" if has_validation else "eval_loss"), mode, trainer.metrics
        )
        self._genome = trainer.genome
        self._loop = Loop(
            trainer=trainer,
            start=trainer.snapshot(),
            schedule=schedule,
            mutations=possible_mutations(wishes, trainer.genome, has_validation),
            fitness=fitness or LevelAndSlope(),
            monitor=monitor,
            mode=direction,
            control=control,
            seed=self.seed,
            folder=RunFolder(self._logs or Path("logs")),
            callbacks=[*make_progress(verbose, monitor), *callbacks],
        )
        checks.check_mutations(self._loop.mutations, trainer.genome, trainer.space, schedule)

    @property
    def epochs(self) -> int:
        """All epochs that the run trains: ``2 m + c (pop_size n + k)``."""
        return self._loop.schedule.epochs

    @property
    def trainer(self) -> Trainer:
        """What trains the live network; its snapshot and traces can be looked at."""
        return self._loop.trainer

    @property
    def genome(self) -> Genome:
        """The hyperparameters that the run begins with: the user's own."""
        return self._genome

    def optimize(self) -> Result:
        """Train the network and its clones; write the run's folder.

        Returns:
            The trained network, and everything that happened.

        Raises:
            RunExistsError: The folder holds something already.
            MihaError: A mutation, a fitness or a callback of the user's raised.
        """
        # Named only now: of two runs made in one second, both have a folder of their own.
        self._loop.folder = self._folder = RunFolder(self._logs or _default_folder())
        self._folder.create()
        with run_log(self._folder.path / "run.log"), self._watched():
            self._begin()
            final = self._loop.run(self._genome)
            result = self._end(final)
            notify(self._loop.callbacks, Callback.on_run_end, result)
        return result

    def _begin(self) -> None:
        loop, folder = self._loop, str(self._folder.path)
        self._folder.write_json("run.json", describe_run(loop))
        say(announcement(loop.schedule, folder))
        say(f"Seed {loop.seed}. {loop.trainer.device}. Starts with {loop.trainer.genome}")
        notify(loop.callbacks, Callback.on_run_begin, loop.schedule, folder)

    def _end(self, final: Network) -> Result:
        loop = self._loop
        best = loop.best or final
        models = [
            loop.trainer.load(loop.trainer.export(network.snapshot, network.genome))
            for network in (final, best)
        ]
        write_tables(loop.log, self._folder.path)
        self._folder.keep(self._keep)
        say(f"Ends with {final.genome}; best {loop.monitor} {best.value:.5g}")
        return Result(
            model=models[0],
            genome=final.genome,
            best_model=models[1],
            best_genome=best.genome,
            best_value=best.value,
            monitor=loop.monitor,
            history=loop.log.history,
            lineage=loop.log.lineage,
            run_dir=self._folder.path,
        )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Close the callbacks however the run ends."""
        with contextlib.ExitStack() as stack:
            for callback in self._loop.callbacks:
                stack.callback(callback.close)
            yield


def possible_mutations(
    wishes: Sequence[Mutation] | None, genome: Genome, has_validation: bool
) -> tuple[Mutation, ...]:
    """Leave out the mutations that the network does not allow, with a warning.

    Args:
        wishes: The mutations that the user asked for; None for the default ones.
        genome: The network's own.
        has_validation: Whether clones are compared on validation data.

    Returns:
        What may be drawn.
    """
    default = [name for name in MUTATIONS if has_validation or name != "learning_rate"]
    reasons = {}
    if not genome.activations:
        reasons["activation"] = "the network has no layer whose activation may be exchanged"
    if genome.learning_rate is None:
        reasons["learning_rate"] = "the network's learning rate schedule is kept"
    mutations = resolve(default) if wishes is None else tuple(wishes)
    for mutation in mutations:
        if mutation.gene in reasons:
            text = f"There is no mutation of {mutation.gene}: {reasons[mutation.gene]}."
            warnings.warn(text, MihaWarning, stacklevel=3)
    return tuple(mutation for mutation in mutations if mutation.gene not in reasons)


def describe_run(loop: Loop) -> dict[str, Any]:
    """Return what `run.json` says of a run: arguments, seed, versions, device, fingerprint."""
    packages = ("miha", "keras", "tensorflow", "numpy")
    return {
        "format": 1,
        "arguments": {
            "schedule": asdict(loop.schedule),
            "mutations": [mutation.describe() for mutation in loop.mutations],
            "fitness": repr(loop.fitness),
            "monitor": loop.monitor,
            "mode": loop.mode,
            "control": loop.control,
            "space": asdict(loop.trainer.space),
            "data": loop.trainer.settings,
        },
        "epochs": loop.schedule.epochs,
        "seed": loop.seed,
        "genome": loop.trainer.genome.to_dict(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": loop.trainer.device,
        "fingerprint": loop.trainer.fingerprint,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _default_folder() -> Path:
    """Name a new folder by the time."""
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    numbered = (Path("logs") / (name + end) for end in chain([""], map("-{}".format, count(2))))
    return next(path for path in numbered if not path.exists())
