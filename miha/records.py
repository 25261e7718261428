"""The records that everything else passes around: frozen, without behaviour of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any, Literal

import numpy as np

Phase = Literal["initial", "clone", "winner", "final"]
"""The four kinds of training: m epochs, n epochs of a clone, k epochs, m epochs again."""

Mode = Literal["min", "max"]

Transition = Literal["inherit", "keep_function", "restart", "perturb"]
"""How a clone comes by its first values: its parent's as they are; its parent's with an exchanged
activation made up for; fresh ones; its parent's shrunk, with noise added."""


@dataclass(frozen=True)
class Genome:
    """What may mutate in a network.

    Attributes:
        optimizer: Name of the optimizer's class, lower case, e.g. ``"adam"``.
        learning_rate: Positive; None when a schedule of the user's decides it.
        batch_size: Samples a step, at least 1.
        activations: ``(slot, activation)`` pairs in the order of the network. The
            activation ``"own"`` is the user's own where it has no name that Keras knows.
        momentum: 0 to 1: the momentum of SGD and RMSprop, the ``beta_1`` of Adam and its like;
            None where the optimizer has none.
        weight_decay: At least 0; None where the optimizer does not decay weights.
        dropout: ``(layer, rate)`` pairs of the Dropout layers, rates 0 to 1.
        noise: ``(layer, standard deviation)`` pairs of the GaussianNoise layers.
        loss: Keras' name of the loss that is trained; None where it does not mutate.
        label_smoothing: 0 to 1; None where it does not mutate.
    """

    optimizer: str
    learning_rate: float | None
    batch_size: int
    activations: tuple[tuple[str, str], ...] = ()
    momentum: float | None = None
    weight_decay: float | None = None
    dropout: tuple[tuple[str, float], ...] = ()
    noise: tuple[tuple[str, float], ...] = ()
    loss: str | None = None
    label_smoothing: float | None = None

    def replace(self, **changes: Any) -> Genome:
        """Return a copy with some genes changed."""
        return replace(self, **changes)

    def with_activation(self, slot: str, activation: str) -> Genome:
        """Return a copy whose ``slot`` holds ``activation``."""
        return replace(self, activations=_with(self.activations, slot, activation))

    def with_dropout(self, layer: str, rate: float) -> Genome:
        """Return a copy whose ``layer`` drops ``rate`` of its inputs."""
        return replace(self, dropout=_with(self.dropout, layer, rate))

    def with_noise(self, layer: str, stddev: float) -> Genome:
        """Return a copy whose ``layer`` adds noise of the standard deviation ``stddev``."""
        return replace(self, noise=_with(self.noise, layer, stddev))

    def __str__(self) -> str:
        rate = "scheduled" if self.learning_rate is None else f"{self.learning_rate:g}"
        numbers = {
            "momentum": self.momentum,
            "weight decay": self.weight_decay,
            "batch size": self.batch_size,
            "label smoothing": self.label_smoothing,
        }
        parts = [f"{self.optimizer} at {rate}"]
        parts += [f"{name} {value:g}" for name, value in numbers.items() if value is not None]
        parts += [] if self.loss is None else [f"loss {self.loss}"]
        parts += [f"{slot}: {activation}" for slot, activation in self.activations]
        parts += [f"{layer}: {value:g}" for layer, value in (*self.dropout, *self.noise)]
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the genes that the network lacks."""
        values = {name: value for name, value in asdict(self).items() if name not in _PAIRS}
        kept = {n: v for n, v in values.items() if n in _ALWAYS or v is not None}
        pairs = {name: dict(getattr(self, name)) for name in _PAIRS}
        return kept | {n: p for n, p in pairs.items() if n in _ALWAYS or p}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Genome:
        """Rebuild the genome that `to_dict` described; one of an earlier version has fewer genes.

        Raises:
            KeyError: A gene that every network has is missing.
        """
        found = {f.name: values[f.name] for f in fields(cls) if f.name in {*values, *_ALWAYS}}
        for name, kind in _PAIRS.items():
            found[name] = tuple((str(s), kind(v)) for s, v in dict(found.get(name, {})).items())
        return cls(**found)


_ALWAYS = ("optimizer", "learning_rate", "batch_size", "activations")
"""Genes that every network has."""

_PAIRS: dict[str, Callable[[Any], Any]] = {"activations": str, "dropout": float, "noise": float}
"""Genes that a network has in several places, and what each place holds."""


def _with(
    pairs: tuple[tuple[str, Any], ...], place: str, value: Any
) -> tuple[tuple[str, Any], ...]:
    return tuple((p, value if p == place else v) for p, v in pairs)


@dataclass(frozen=True)
class Change:
    """One mutation, in words a table can show.

    Attributes:
        gene: The `gene` of the mutation that made it, e.g. ``"optimizer"``; ``"none"`` for the
            control clone.
        text: What became what, e.g. ``"batch size 32 -> 64"``.
        transition: How the clone comes by its first values.
        mate: Name of the archive of its second parent, where it has two.
    """

    gene: str
    text: str
    transition: Transition = "inherit"
    mate: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)


UNCHANGED = Change("none", "unchanged")


@dataclass(frozen=True)
class Curve:
    """The monitored value over a clone's epochs, all read on the same ruler.

    Attributes:
        start: The parent's value before the clone's first epoch.
        values: One value for each of the n epochs, in order.
        mode: ``"min"`` when smaller is better, ``"max"`` when larger is.
    """

    start: float
    values: tuple[float, ...]
    mode: Mode = "min"

    @property
    def first(self) -> float:
        """The value the slope is counted from: the first epoch's, or the parent's if n = 1."""
        # A parent that has diverged has no value; its clones may still rescue it by their level.
        return self.start if len(self.values) == 1 and isfinite(self.start) else self.values[0]

    @property
    def last(self) -> float:
        """The value after the last epoch."""
        return self.values[-1]


@dataclass(frozen=True)
class Schedule:
    """How long what is trained.

    Attributes:
        m: Epochs of the first and of the last training, at least 1.
        n: Epochs of each clone, at least 1.
        k: Epochs of each cycle's winner, at least 0.
        c: Cycles, at least 0.
        pop_size: Clones in a cycle, the control among them, at least 1.
    """

    m: int
    n: int
    k: int
    c: int
    pop_size: int

    @property
    def epochs(self) -> int:
        """All epochs of the run: ``2 m + c (pop_size n + k)``."""
        return 2 * self.m + self.c * self.epochs_of_cycle

    @property
    def epochs_of_cycle(self) -> int:
        """Epochs of one cycle: ``pop_size n + k``."""
        return self.pop_size * self.n + self.k

    def epochs_left(self, cycle: int) -> int:
        """Return how many epochs the network itself still trains after a cycle's population."""
        return self.k + (self.c - cycle) * (self.n + self.k) + self.m

    @property
    def trainings(self) -> int:
        """All trainings of the run, and so the networks that it archives."""
        return 2 + self.c * (self.pop_size + 1)

    def epochs_of(self, phase: Phase) -> int:
        """Return the epochs of one training."""
        return {"initial": self.m, "clone": self.n, "winner": self.k, "final": self.m}[phase]


@dataclass(frozen=True)
class LongestSchedule(Schedule):
    """The most that a run can be, where more clones may follow on a population's.

    Attributes:
        further: Clones of a cycle that train beside pop_size, at most: those that join.
        archives: Archives of a cycle, the winner's aside.
        limit: Epochs that the run may train; None: any number.
    """

    further: int = 0
    archives: int = 0
    limit: int | None = None

    @property
    def epochs(self) -> int:
        """The most epochs of the run."""
        return super().epochs if self.limit is None else min(super().epochs, self.limit)

    @property
    def epochs_of_cycle(self) -> int:
        """The most epochs of one cycle: ``(pop_size + further) n + k``."""
        return super().epochs_of_cycle + self.further * self.n

    @property
    def trainings(self) -> int:
        """The most trainings of the run."""
        return 2 + self.c * (self.archives + 1)


@dataclass(frozen=True)
class Epoch:
    """One trained epoch.

    Attributes:
        logs: What `fit` would have logged, e.g. ``{"loss": 0.3, "val_loss": 0.4}``.
        seconds: Wall time of training and evaluation; where clones train together, its share.
    """

    logs: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """A network's values: with a genome, all that a clone is.

    Attributes:
        variables: Every value of ``model.variables``: weights, statistics and seed states.
        optimizer: Name of the optimizer whose state follows.
        slots: Every value of ``optimizer.variables``.
    """

    variables: tuple[np.ndarray, ...]
    optimizer: str
    slots: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Task:
    """One training of the run, before it happens.

    Attributes:
        phase: Which of the four trainings this is.
        cycle: 1 to c; None in the first and the last training.
        clone: 0 to pop_size - 1; None unless the phase is ``"clone"``.
        epochs: Epochs to train.
        genome: The hyperparameters to train with.
        change: How the genome differs from the parent's.
        archive: Name of the archive to write, relative to the run's folder.
    """

    phase: Phase
    cycle: int | None
    clone: int | None
    epochs: int
    genome: Genome
    change: Change
    archive: str


@dataclass(frozen=True)
class Network:
    """A network after a training: a point on the run's way.

    Attributes:
        task: The training that made it.
        snapshot: Its values; None where they are in its archive only, or where it failed with
            an error and has none.
        epochs: The epochs of that training.
        age: Epochs trained on the way to it, its ancestors' included.
        value: The monitored value after its last epoch.
        start: The monitored value that its fitness counts from: that of the network which the
            population was made of. None where that has none.
        fitness: Its fitness, if it was a clone.
        parent: Name of the archive that it was trained on from.
        failure: Why its training failed, if it did: a sentence, or an error's traceback.
        seconds: Wall time of that training, what surrounds its epochs included; of a clone that
            trained beside others on workers, the time since the one before it was in; 0 of a late
            one, for which nothing waited.
        restored: Name of the archive whose network its own archive holds instead: a better one
            of the run.
        late: Whether it is a clone that came when its cycle had selected, and did not compete.
    """

    task: Task
    snapshot: Snapshot | None
    epochs: tuple[Epoch, ...]
    age: int
    value: float
    start: float | None = None
    fitness: float | None = None
    parent: str | None = None
    failure: str | None = None
    seconds: float | None = None
    restored: str | None = None
    late: bool = False

    @property
    def genome(self) -> Genome:
        """The hyperparameters that it was trained with."""
        return self.task.genome

    @property
    def archive(self) -> str | None:
        """Name of its archive; None where an error left nothing to archive."""
        return self.task.archive if self.failure is None or self.epochs else None

    def describe(self) -> dict[str, Any]:
        """Return all but the values: what the journal and the archive say of it."""
        task = self.task
        return ({"late": True} if self.late else {}) | {
            "phase": task.phase,
            "cycle": task.cycle,
            "clone": task.clone,
            "archive": self.archive,
            "parent": self.parent,
            "change": task.change.to_dict(),
            "genome": task.genome.to_dict(),
            "first_epoch": self.age - len(self.epochs) + 1,
            "value": self.value,
            "start": self.start,
            "fitness": self.fitness,
            "failure": self.failure,
            "seconds": self.seconds,
            "restored": self.restored,
            "epochs": [{**e.logs, "seconds": e.seconds} for e in self.epochs],
        }

    @classmethod
    def recalled(cls, task: Task, entry: Mapping[str, Any]) -> Network:
        """Return the network that `describe` described; its values are in its archive."""
        rows = [dict(row) for row in entry["epochs"]]
        epochs = tuple(Epoch(seconds=row.pop("seconds"), logs=row) for row in rows)
        return cls(
            task=task,
            snapshot=None,
            epochs=epochs,
            age=entry["first_epoch"] - 1 + len(epochs),
            value=entry["value"],
            start=entry.get("start"),
            fitness=entry["fitness"],
            parent=entry["parent"],
            failure=entry["failure"],
            seconds=entry.get("seconds"),
            restored=entry.get("restored"),
            late=entry.get("late", False),
        )
