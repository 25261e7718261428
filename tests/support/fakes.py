"""A trainer without Keras, and what the tests of the core build with it."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from miha.archive.archive import pack
from miha.callbacks import Callback
from miha.errors import TrainerError
from miha.executors.factory import make_population_executor
from miha.executors.parallel import Workers
from miha.executors.protocol import CloneResult, Job, WorkerLost, WorkerPool
from miha.executors.training import Training as OneTraining
from miha.executors.worker import Worker, signature
from miha.mutations import resolve
from miha.options import Budget, Search
from miha.randomness import move_to, position
from miha.records import (
    UNCHANGED,
    Change,
    Epoch,
    FinalData,
    Genome,
    Network,
    Progress,
    Schedule,
    Snapshot,
    Task,
    TrainingRecord,
    Transition,
)
from miha.run.identity import describe_run
from miha.run.loop import Loop
from miha.run.recorder import Recorder
from miha.run.resume import open_run
from miha.run.session import Session
from miha.run.trainings import Trainings
from miha.run.ways import Request
from miha.search.fitness import LevelAndSlope
from miha.search.plan import Plan, default_names
from miha.space import Space
from miha.storage.folder import START, RunFolder, archive_name
from miha.storage.logbook import Logbook
from miha.storage.text_log import run_log
from miha.trainer.protocol import Trained

GENOME = Genome("sgd", 0.005, 4, (("hidden", "relu"), ("last", "tanh")))
RICH = GENOME.replace(
    optimizer="adamw",
    weight_decay=0.004,
    dropout=(("drop", 0.5), ("drop_1", 0.2)),
    noise=(("noise", 0.1),),
    label_smoothing=0.0,
    input_noise=(("x", 0.0), ("y", 0.5)),
    augmentation=0.0,
)
"""A genome with every gene."""

SPACE = Space(
    optimizers={"sgd": 0.005, "adam": 0.001, "lion": 0.0005},
    slots={"hidden": ("relu", "tanh", "gelu"), "last": ("tanh", "relu")},
    batch_size=(1, 16),
    learning_rate=(1e-4, 0.02),
)
RICH_SPACE = replace(
    SPACE,
    optimizers={"sgd": 0.005, "adamw": 0.001, "lion": 0.0005, "adagrad": 0.01},
    weight_decay={"adamw": (0.004, 0.0, 0.1), "lion": (0.01, 0.0)},
    dropout={"drop": (0.5, 0.0, 0.3), "drop_1": (0.2, 0.0)},
    noise={"noise": (0.1, 0.0, 0.3)},
    label_smoothing=(0.0, 0.1),
    input_noise={"x": (0.0, 0.5), "y": (0.5, 0.0)},
    augmentation=(0.0, 0.5),
)
SAMPLES = np.random.default_rng(7).normal(size=16)
ALL_SAMPLES = np.append(SAMPLES, np.full(8, 0.1))
"""With what it is validated on."""


@dataclass
class Training:
    """What a `FakeTrainer` did in one call of `train`."""

    genome: Genome
    start: float
    noise: int
    orders: list[list[int]] = field(default_factory=list)
    rates: Sequence[float] | None = None
    end: float = math.nan
    samples: np.ndarray = field(default_factory=lambda: SAMPLES)


class FakeTrainer:
    """Trains one weight towards the mean of 16 samples.

    As in Keras, the learning rate is one of the optimizer's variables, so that `restore` undoes
    what was expressed before it.

    Args:
        diverges: Whether the loss is NaN with a genome.
        script: Logged values to give instead, by the number of the training, 0 for the first.
        fails: The error that a training of a genome raises, or None.
        padding: Bytes by which an archive is larger than it need be.
    """

    backend = "numpy"
    device = "a test"
    traces = 0
    mirror = None
    settings: dict[str, Any] = {"shuffle": True}
    fingerprint = {"data": "0", "network": "1"}
    is_parallel = False
    compiler = "eager"
    metrics = {"loss": "min", "val_loss": "min", "val_accuracy": "max", "custom": None}

    def __init__(
        self,
        diverges: Callable[[Genome], bool] = lambda genome: False,
        script: Mapping[int, Mapping[str, float]] | None = None,
        genome: Genome = GENOME,
        space: Space = SPACE,
        fails: Callable[[Genome], Exception | None] = lambda genome: None,
        padding: int = 0,
    ) -> None:
        self.space = space
        self.trainings: list[Training] = []
        self.finalized = 0
        self._diverges = diverges
        self._script = script or {}
        self._fails = fails
        self._padding = bytes(padding)
        self._weight = 4.0
        self._seed = 0
        self._genome = genome
        self._velocity = 0.0

    @property
    def genome(self) -> Genome:
        return self._genome

    @property
    def epochs(self) -> int:
        return sum(len(training.orders) for training in self.trainings)

    def obstacle(self, way: str) -> str | None:
        return "a test's trainer trains one network"

    def snapshot(self) -> Snapshot:
        variables = (np.array([self._weight]), np.array([self._seed]))
        slots = (np.array(self._genome.learning_rate), np.array([self._velocity]))
        return Snapshot(variables, self._genome.optimizer, slots)

    def restore(self, snapshot: Snapshot) -> None:
        weight, seed = snapshot.variables
        rate, velocity = snapshot.slots
        self._weight, self._seed, self._velocity = (
            float(weight[0]),
            int(seed[0]),
            float(velocity[0]),
        )
        self._genome = self._genome.replace(optimizer=snapshot.optimizer, learning_rate=float(rate))

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        if transition == "restart":
            self._weight, self._velocity = float(rng.normal(4.0)), 0.0
        for slot, activation in genome.activations:
            if activation not in self.space.slots[slot]:
                raise TrainerError(f"{slot} cannot hold {activation}.")
        if genome.optimizer != self._genome.optimizer:
            self._velocity = 0.0
        self._genome = genome

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
        progress: Progress | None = None,
        data: FinalData = "train",
    ) -> tuple[Epoch, ...]:
        if noise is not None:
            self._seed = int(noise.integers(2**31))
        trained: list[Epoch] = []
        if progress is not None:
            trained += progress.epochs
            self.restore(progress.snapshot)
            move_to(order, progress.order)
        training = Training(self._genome, self._weight, self._seed, rates=rates)
        if data == "all":
            training.samples = ALL_SAMPLES
        self.trainings.append(training)
        while len(trained) < epochs and (not trained or math.isfinite(trained[-1].logs["loss"])):
            trained.append(self._epoch(order, training))
            if on_epoch(trained[-1]):
                break
        if error := self._fails(self._genome):
            raise error
        training.end = self._weight
        return tuple(trained)

    def progress(self, epochs: Sequence[Epoch], order: np.random.Generator) -> Progress:
        return Progress(self.snapshot(), tuple(epochs), position(order))

    def evaluate(self) -> dict[str, float]:
        return {name: value for name, value in self._logs().items() if name.startswith("val_")}

    def finalize(self) -> dict[str, float]:
        self.finalized += 1
        self._weight = round(self._weight, 2)
        return {}

    def export(self, snapshot: Snapshot, genome: Genome) -> bytes:
        buffer = io.BytesIO()
        values = [array.ravel()[0] for array in (*snapshot.variables, *snapshot.slots)]
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("config.json", json.dumps(genome.to_dict()))
            archive.writestr("model.weights.h5", np.array(values).tobytes() + self._padding)
        return buffer.getvalue()

    def recall(self, archive: bytes) -> Snapshot:
        loaded = self._read(archive)
        weight, _, rate, velocity = loaded["values"]
        variables = (np.array([weight]), np.array([self._seed]))
        slots = (np.array(rate), np.array([velocity]))
        return Snapshot(variables, loaded["genome"]["optimizer"], slots)

    def load(self, archive: bytes) -> dict[str, Any]:
        loaded = self._read(archive)
        return {"weight": loaded["values"][0], "genome": loaded["genome"]}

    def _read(self, archive: bytes) -> dict[str, Any]:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            values = np.frombuffer(opened.read("model.weights.h5"), count=4).tolist()
            return {"values": values, "genome": json.loads(opened.read("config.json"))}

    def _epoch(self, order: np.random.Generator, training: Training) -> Epoch:
        began = time.perf_counter()
        samples = training.samples
        permutation = order.permutation(len(samples))
        training.orders.append(permutation.tolist())
        for start in range(0, len(samples), self._genome.batch_size):
            batch = samples[permutation[start : start + self._genome.batch_size]]
            self._velocity = 0.5 * self._velocity + 2 * (self._weight - batch.mean())
            self._weight -= self._step * self._velocity
        logs = self._logs() | dict(self._script.get(len(self.trainings) - 1, {}))
        if not math.isfinite(logs["loss"]):
            self._weight = math.nan
        return Epoch(logs, time.perf_counter() - began)

    @property
    def _step(self) -> float:
        genome, space = self._genome, self.space
        gain = 1 + 0.1 * list(space.optimizers).index(genome.optimizer)
        for slot, activation in genome.activations:
            gain *= 1 + 0.1 * space.slots[slot].index(activation)
        return gain * (genome.learning_rate or 0.001)

    def _logs(self) -> dict[str, float]:
        loss = math.nan if self._diverges(self._genome) else np.mean((self._weight - SAMPLES) ** 2)
        value = (self._weight - 0.1) ** 2
        return {"loss": float(loss), "val_loss": value, "val_accuracy": 1 / (1 + value)}


class FakePopulationTrainer(FakeTrainer):
    """Trains the clones of a group as if together; what they become depends on their number.

    Attributes:
        groups: The genomes of each group.
        alone: Transitions of clones that train in none.
    """

    alone: tuple[str, ...] = ()

    def __init__(
        self,
        breaks: Callable[[Sequence[Genome]], Exception | None] = lambda genomes: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups: list[list[Genome]] = []
        self.together = 1.5
        self._breaks = breaks

    def goes_alone(self, parent: Genome, genome: Genome, transition: str) -> bool:
        return transition in self.alone

    def obstacle(self, way: str) -> str | None:
        return None

    def clones_at_once(self, most: int) -> int:
        return most

    def measure(self, clones: int) -> dict[str, float]:
        return {"alone": 1.0, "together": self.together}

    def train_population(
        self,
        genomes: Sequence[Genome],
        values: Snapshot,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator,
        on_epoch: Callable[[int, Epoch], None],
        origins: Sequence[Any],
    ) -> list[Trained]:
        self.groups.append(list(genomes))
        if error := self._breaks(genomes):
            raise error
        return [
            self._together(
                i,
                genome,
                values,
                epochs,
                copy.deepcopy(order),
                copy.deepcopy(noise),
                on_epoch,
                1e-9 * len(genomes),
                origin,
            )
            for i, (genome, origin) in enumerate(zip(genomes, origins, strict=True))
        ]

    def _together(
        self,
        place: int,
        genome: Genome,
        values: Snapshot,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator,
        on_epoch: Callable[[int, Epoch], None],
        rounding: float,
        origin: Any,
    ) -> Trained:
        self.restore(values)
        self.express(origin.parent)
        self.express(genome, origin.transition, origin.rng)
        trained = self.train(epochs, order, noise, lambda epoch: on_epoch(place, epoch))
        self._weight += rounding
        snapshot = self.snapshot()
        return Trained(trained, lambda: snapshot)


def make_job(make_trainer: Callable[[], FakeTrainer] = FakeTrainer, pop_size: int = 6) -> Job:
    """Return a job that can be sent if ``make_trainer`` can."""
    trainer = make_trainer()
    return Job(make_trainer, 0, None, pop_size, {}, signature(trainer), trainer.device)


class FakeWorkers:
    """Workers whose time is told, not measured; what is sent to them is pickled, as to others.

    Args:
        number: How many.
        job: What they are for.
        seconds: How long a task takes.
        loses: What becomes of the worker of a task, by how often that has been begun.

    Attributes:
        begun: The tasks, in the order in which they were begun.
        idle: Seconds that workers have been free while others were at work.
    """

    def __init__(
        self,
        number: int = 1,
        job: Job | None = None,
        seconds: Callable[[Task], float] = lambda task: 1.0,
        loses: Callable[[Task, int], WorkerLost | None] = lambda task, times: None,
    ) -> None:
        job = pickle.dumps(job or make_job())
        self._workers = [Worker(pickle.loads(job)) for _ in range(number)]
        self._number, self._seconds, self._loses = number, seconds, loses
        self._busy: list[tuple[float, int, Worker, Task, bytes]] = []
        self._now = self.idle = 0.0
        self.begun: list[Task] = []
        self.shared = 0

    @property
    def free(self) -> int:
        return len(self._workers)

    def share(self, parent: Genome, values: Snapshot) -> bytes:
        self.shared += 1
        return pickle.dumps((parent, values))

    def submit(self, number: int, task: Task, shared: bytes) -> None:
        self.begun.append(task)
        end = self._now + self._seconds(task)
        self._busy.append((end, number, self._workers.pop(), task, shared))

    def results(self) -> list[tuple[int, CloneResult | WorkerLost]]:
        first = min(self._busy, key=lambda work: work[:2])
        self._busy.remove(first)
        end, number, worker, task, shared = first
        self.idle += (end - self._now) * self.free
        self._now = end
        self._workers.append(worker)
        lost = self._loses(task, self.begun.count(task))
        sent = pickle.loads(pickle.dumps(task)), pickle.loads(shared)
        return [(number, lost or pickle.loads(pickle.dumps(worker.train(*sent))))]

    def close(self) -> None:
        self._workers = []


@dataclass(frozen=True)
class SmallLoop(Loop):
    """A loop whose parts tests reach by short names."""

    start: Snapshot | None = None

    @property
    def trainer(self) -> FakeTrainer:
        return self.trainings.training.trainer

    @property
    def schedule(self) -> Schedule:
        return self.plan.schedule

    @property
    def recorder(self) -> Recorder:
        return self.trainings.recorder

    @property
    def folder(self) -> RunFolder:
        return self.recorder.folder

    @property
    def log(self) -> Logbook:
        return self.recorder.log

    @property
    def best(self) -> TrainingRecord | None:
        return self.log.best(self.plan.mode)


SEARCH = Search(restarts=0, margin=0.0, rest=False, backtrack=None, anneal=False)
"""The fittest clone wins, the control among them: what most tests of the loop want."""


def make_plan(**changes: Any) -> Plan:
    """Return a small plan: m=2, n=2, k=1, c=2, pop_size=3 unless told otherwise.

    Options of `Search` and `Budget` can be given by their names.
    """
    numbers = {"m": 2, "n": 2, "k": 1, "c": 2, "pop_size": 3}
    schedule = Schedule(**{name: changes.pop(name, low) for name, low in numbers.items()})
    search = {f.name: changes.pop(f.name) for f in fields(Search) if f.name in changes}
    budget = {f.name: changes.pop(f.name) for f in fields(Budget) if f.name in changes}
    arguments = {
        "schedule": schedule,
        "mutations": resolve(default_names(has_validation=True)),
        "fitness": LevelAndSlope(),
        "monitor": "val_loss",
        "mode": "min",
        "seed": 0,
        "search": replace(SEARCH, **search),
        "budget": Budget(**budget),
    }
    return Plan(**(arguments | changes))


def make_loop(
    path: Path,
    trainer: FakeTrainer | None = None,
    callbacks: Sequence[Callback] = (),
    overwrite: bool = False,
    at_once: int = 1,
    workers: WorkerPool | None = None,
    on_trial: Workers | None = None,
    **changes: Any,
) -> SmallLoop:
    """Return a small run, planned by `make_plan`."""
    trainer = trainer or FakeTrainer()
    plan = make_plan(**changes)
    folder = RunFolder(path)
    folder.create()
    description = describe_run(plan, trainer)
    journal, past = open_run(folder, plan, description, overwrite, lambda folder, done: None)
    recorder = Recorder(folder, journal, past, trainer)
    training = OneTraining(plan, trainer, callbacks)
    records = recorder.log.trainings
    executor = make_population_executor(training, at_once, workers, records, on_trial)
    trainings = Trainings(plan, training, recorder, callbacks)
    return SmallLoop(plan, trainings, executor, trainer.space, trainer.snapshot())


class FakeBlueprint(FakeTrainer):
    """What a worker builds."""

    environment: ClassVar = {"KERAS_BACKEND": "numpy"}


def make_session(
    path: Path | None,
    trainer: FakeTrainer | None = None,
    callbacks: Sequence[Callback] = (),
    executor: Any = None,
    overwrite: bool = False,
    keep: str = "all",
    request: Request | None = None,
    **changes: Any,
) -> Session:
    """Return a session of the small plan of `make_plan`."""
    trainer = trainer or FakeTrainer()
    plan = make_plan(**changes)
    setup = SimpleNamespace(trainer=trainer, blueprint=lambda executor: FakeBlueprint)
    return Session(plan, setup, request or Request(), executor, callbacks, path, overwrite, keep)


def run(loop: SmallLoop) -> TrainingRecord:
    """Run a loop from its trainer's own genome, and log it in its folder."""
    folder = loop.folder
    start = pack(loop.trainer.export(loop.start, loop.trainer.genome), {"genome": GENOME.to_dict()})
    folder.write_archive(START, start)
    with run_log(folder.path / "run.log"):
        record = loop.run(loop.trainer.genome, loop.start)
    loop.recorder.end()
    return record


def make_record(
    phase: str = "clone",
    cycle: int | None = 1,
    clone: int | None = 0,
    values: tuple[float, ...] = (0.5, 0.25),
    age: int = 7,
    change: Change = UNCHANGED,
    fitness: float | None = None,
    **changes: Any,
) -> TrainingRecord:
    """Return the record of a training whose ``val_loss`` was ``values``."""
    record = TrainingRecord(
        phase=phase,
        cycle=cycle,
        clone=clone,
        archive=archive_name(phase, cycle, clone),
        parent="model/model_init.zip",
        change=change,
        genome=GENOME,
        first_epoch=age - len(values) + 1,
        epochs=tuple(Epoch({"loss": 2 * v, "val_loss": v}, 0.1) for v in values),
        value=values[-1],
        start=values[0],
        fitness=fitness,
    )
    return record.replace(**changes)


def make_network(**changes: Any) -> Network:
    """Return a trained network; see `make_record`."""
    values = Snapshot((np.zeros(3, "float32"),), "sgd", (np.zeros((), "int64"),))
    return Network(make_record(**changes), values)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for what another thread does; return whether it happened."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return False
