"""The records that everything else passes around: frozen, and without side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import inf, isfinite, nan
from typing import Any, Literal

import numpy as np

from miha.utils.json_values import numbers

Phase = Literal["initial", "clone", "winner", "final"]
"""The four kinds of training: m epochs, n epochs of a clone, k epochs, m epochs again."""

Mode = Literal["min", "max"]
"""Whether the monitored value is better small or large."""

FinalData = Literal["train", "all"]
"""What a training takes its samples from: the training data, or the validation data, too."""

Kind = Literal["unchanged", "mutation", "restart", "crossover"]
"""How a clone came to be: the control is unchanged."""

Transition = Literal["inherit", "keep_function", "restart"]
"""How a clone comes by its first values: its parent's as they are; its parent's with an exchanged
activation made up for; fresh ones."""

_KINDS: dict[str, Kind] = {
    "none": "unchanged",
    "restart": "restart",
    "crossover": "crossover",
    "soup": "crossover",
}
"""Names that stand in the place of a gene where no mutation made the clone."""

RESERVED_GENES = tuple(_KINDS)


def as_loss(value: float, mode: Mode) -> float:
    """Return a value such that smaller is better."""
    return value if mode == "min" else -value


def gain(
    value: float,
    base: float,
    mode: Mode,
) -> float:
    """Return by how much a value is better than another; negative where it is worse."""
    return as_loss(base, mode) - as_loss(value, mode)


def is_better(
    value: float,
    other: float,
    mode: Mode,
) -> bool:
    """Return whether a value is better than another; one that is not finite never is."""
    if not isfinite(value):
        return False
    return not isfinite(other) or as_loss(value, mode) < as_loss(other, mode)


@dataclass(frozen=True)
class Genome:
    """What may mutate in a network.

    Attributes:
        optimizer: Name of the optimizer's class, lower case, e.g. ``"adam"``.
        learning_rate: Positive; None when a schedule of the user's decides it.
        batch_size: Samples a step, at least 1.
        activations: ``(slot, activation)`` pairs in the order of the network. The
            activation ``"own"`` is the user's own where it has no name that Keras knows.
        weight_decay: At least 0; None where the optimizer does not decay weights.
        dropout: ``(layer, rate)`` pairs of the Dropout layers, rates 0 to 1.
        noise: ``(layer, standard deviation)`` pairs of the GaussianNoise layers.
        label_smoothing: 0 to 1; None where it does not mutate.
        input_noise: ``(input, amount)`` pairs, in standard deviations of each feature.
        augmentation: The share of samples that it changes, 0 to 1; None where there is none.
    """

    optimizer: str
    learning_rate: float | None
    batch_size: int
    activations: tuple[tuple[str, str], ...] = ()
    weight_decay: float | None = None
    dropout: tuple[tuple[str, float], ...] = ()
    noise: tuple[tuple[str, float], ...] = ()
    label_smoothing: float | None = None
    input_noise: tuple[tuple[str, float], ...] = ()
    augmentation: float | None = None

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

    def with_input_noise(self, name: str, amount: float) -> Genome:
        """Return a copy whose input ``name`` gets noise of ``amount`` standard deviations."""
        return replace(self, input_noise=_with(self.input_noise, name, amount))

    def __str__(self) -> str:
        rate = "scheduled" if self.learning_rate is None else f"{self.learning_rate:g}"
        numbers = {
            "weight decay": self.weight_decay,
            "batch size": self.batch_size,
            "label smoothing": self.label_smoothing,
            "augmentation": self.augmentation,
        }
        parts = [f"{self.optimizer} at {rate}"]
        parts += [f"{name} {value:g}" for name, value in numbers.items() if value is not None]
        parts += [f"{slot}: {activation}" for slot, activation in self.activations]
        parts += [f"{layer}: {value:g}" for layer, value in (*self.dropout, *self.noise)]
        parts += [f"noise on {name} {value:g}" for name, value in self.input_noise]
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the genes that the network lacks."""
        kept = {}
        for name, value in asdict(self).items():
            is_there = value is not None
            if name in _PAIRS:
                value = dict(value)
                is_there = bool(value)
            if is_there or name in _ALWAYS:
                kept[name] = value
        return kept

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Genome:
        """Rebuild the genome that `to_dict` described; those of earlier versions differ.

        Raises:
            KeyError: A gene that every network has is missing.
        """
        known = {gene.name for gene in fields(cls)}
        there = {*values, *_ALWAYS}
        found = {name: values[name] for name in known & there}
        for name, kind in _PAIRS.items():
            pairs = dict(found.get(name, {}))
            found[name] = tuple((str(place), kind(value)) for place, value in pairs.items())
        return cls(**found)


_ALWAYS = ("optimizer", "learning_rate", "batch_size", "activations")
"""Genes that every network has."""

_PAIRS: dict[str, Callable[[Any], Any]] = {
    "activations": str,
    "dropout": float,
    "noise": float,
    "input_noise": float,
}
"""Genes that a network has in several places, and what each place holds."""


def _with(
    pairs: tuple[tuple[str, Any], ...],
    place: str,
    value: Any,
) -> tuple[tuple[str, Any], ...]:
    return tuple((p, value if p == place else v) for p, v in pairs)


@dataclass(frozen=True)
class Change:
    """How a genome differs from its parent's, in words that a table can show.

    Attributes:
        gene: The `gene` of the mutation that made it, e.g. ``"optimizer"``; ``"none"`` for the
            control, ``"restart"`` and ``"crossover"`` for those.
        text: What became what, e.g. ``"batch size 32 -> 64"``.
        transition: How the clone comes by its first values.
        mate: Name of the archive of its second parent, where it has two.
    """

    gene: str
    text: str
    transition: Transition = "inherit"
    mate: str | None = None

    @property
    def kind(self) -> Kind:
        """How the clone came to be."""
        return _KINDS.get(self.gene, "mutation")

    @property
    def is_control(self) -> bool:
        """Whether nothing was changed."""
        return self.kind == "unchanged"

    @property
    def is_restart(self) -> bool:
        """Whether the clone begins with fresh weights."""
        return self.kind == "restart"

    def to_json(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Change:
        """Rebuild the change that `to_json` described; earlier versions knew fewer fields."""
        return cls(
            gene=str(values["gene"]),
            text=str(values["text"]),
            transition=values.get("transition", "inherit"),
            mate=values.get("mate"),
        )


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
        # A parent that has diverged has no value. Its clones may still rescue it by their level.
        if len(self.values) == 1 and isfinite(self.start):
            return self.start
        return self.values[0]

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

    def with_cycles(self, c: int) -> Schedule:
        """Return a schedule of another number of cycles."""
        return replace(self, c=c)

    def epochs_left(self, cycle: int) -> int:
        """Return how many epochs the network itself still trains after a cycle's population."""
        cycles_left = self.c - cycle
        return self.k + cycles_left * (self.n + self.k) + self.m

    @property
    def trainings(self) -> int:
        """All trainings of the run, and so the networks that it archives."""
        return 2 + self.c * (self.pop_size + 1)

    def epochs_of(self, phase: Phase) -> int:
        """Return the epochs of one training."""
        epochs = {"initial": self.m, "clone": self.n, "winner": self.k, "final": self.m}
        return epochs[phase]


@dataclass(frozen=True)
class Epoch:
    """One trained epoch.

    Attributes:
        logs: What `fit` would have logged, e.g. ``{"loss": 0.3, "val_loss": 0.4}``.
        seconds: Wall time of training and evaluation; where clones train together, its share.
    """

    logs: Mapping[str, Any]
    seconds: float

    def value(self, monitor: str) -> float:
        """Return the monitored value; an epoch whose loss is not finite has none.

        Raises:
            KeyError: It is not logged.
        """
        has_finite_loss = isfinite(self.logs.get("loss", 0.0))
        value = self.logs[monitor]
        return float(value) if has_finite_loss else nan


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
class Progress:
    """How far a training has come at the end of an epoch: all that the next one goes on from.

    Attributes:
        snapshot: The network's values.
        epochs: The epochs so far.
        order: Where the generator of the order of samples is; see `randomness.position`.
        noise: The states of generators outside the network, where a backend has some.
    """

    snapshot: Snapshot
    epochs: tuple[Epoch, ...]
    order: Mapping[str, Any]
    noise: tuple[np.ndarray, ...] = ()


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
        rates: The factor of the learning rate in each epoch; empty where it stays.
        data: What it takes its samples from.
    """

    phase: Phase
    cycle: int | None
    clone: int | None
    epochs: int
    genome: Genome
    change: Change
    archive: str
    rates: tuple[float, ...] = ()
    data: FinalData = "train"


@dataclass(frozen=True)
class TrainingRecord:
    """One finished training: what the journal stores, the rules read and the tables show.

    Attributes:
        phase: Which of the four trainings it was.
        cycle: 1 to c; None in the first and the last training.
        clone: Its number in the population; None for the network itself.
        archive: Name of its archive; None where an error left nothing to archive.
        parent: Name of the archive that it was trained on from.
        change: How its genome differs from the parent's.
        genome: The hyperparameters that it was trained with.
        first_epoch: Number of its first epoch, its ancestors' counted, from 1.
        epochs: The epochs of this training.
        value: The monitored value after the last one.
        start: The monitored value that its fitness counts from: the parent's. None where that
            has none.
        fitness: Its fitness, if it was a clone.
        failure: Why it failed, if it did: a sentence, or an error's traceback.
        seconds: Wall time of the training, what surrounds its epochs included. Of a clone that
            trained beside others on workers: the time since the one before it was recorded.
        restored: Name of the archive whose network its own archive contains instead: a better
            one of the run.
        rates: The factor of the learning rate in each epoch; empty where it stayed.
        data: What it took its samples from.
    """

    phase: Phase
    cycle: int | None
    clone: int | None
    archive: str | None
    parent: str | None
    change: Change
    genome: Genome
    first_epoch: int
    epochs: tuple[Epoch, ...]
    value: float
    start: float | None = None
    fitness: float | None = None
    failure: str | None = None
    seconds: float | None = None
    restored: str | None = None
    rates: tuple[float, ...] = ()
    data: FinalData = "train"

    @property
    def age(self) -> int:
        """Epochs trained on the way to it, its ancestors' included."""
        return self.first_epoch - 1 + len(self.epochs)

    @property
    def is_clone(self) -> bool:
        """Whether it is a clone, and not the network itself."""
        return self.phase == "clone"

    @property
    def has_seen_validation(self) -> bool:
        """Whether it was trained on the validation data, too: its values there prove nothing."""
        return self.data == "all"

    @property
    def has_lost(self) -> bool:
        """Whether it cannot be selected: it failed or diverged."""
        return self.fitness is None or not isfinite(self.fitness)

    @property
    def wall_seconds(self) -> float:
        """Wall time of the training, also of runs of earlier versions, which noted none."""
        if self.seconds is not None:
            return self.seconds
        return float(sum(epoch.seconds for epoch in self.epochs))

    def values(self, monitor: str) -> list[float]:
        """Return the monitored value after each epoch."""
        return [epoch.value(monitor) for epoch in self.epochs]

    def replace(self, **changes: Any) -> TrainingRecord:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return what the journal and the archive say of the training."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        # Nested records are not plain values yet.
        values["change"] = self.change.to_json()
        values["genome"] = self.genome.to_dict()
        values["epochs"] = rows_of(self.epochs)
        values["rates"] = list(self.rates)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingRecord:
        """Rebuild the record that `to_json` described, also one that an earlier version wrote.

        Raises:
            KeyError: It lacks what every record has.
        """
        # A field that an earlier version did not write has its default.
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        # What is no finite number stands as text in JSON.
        known |= numbers({name: known.get(name) for name in ("value", "start", "fitness")})
        if values.get("pruned"):
            # A clone that was stopped early, which no version does any more, had lost.
            known |= {"failure": "pruned", "fitness": -inf}
        # Before 0.3.0, a mean of two networks had two parents.
        parent = values["parent"]
        known["parent"] = parent[0] if isinstance(parent, list) else parent
        known["change"] = Change.from_json(values["change"])
        known["genome"] = Genome.from_dict(values["genome"])
        known["epochs"] = epochs_from(values["epochs"])
        known["rates"] = tuple(values.get("rates", ()))
        return cls(**known)


def rows_of(epochs: Iterable[Epoch]) -> list[dict[str, Any]]:
    """Return epochs as a file has them."""
    return [{**epoch.logs, "seconds": epoch.seconds} for epoch in epochs]


def epochs_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    """Return the epochs that a file has."""
    epochs: list[Epoch] = []
    for row in rows:
        logs = dict(numbers(row))
        seconds = logs.pop("seconds")
        epochs.append(Epoch(logs, seconds))
    return tuple(epochs)


@dataclass(frozen=True)
class Network:
    """A network after a training: what is recorded of it, and its values.

    Attributes:
        record: What the journal says of the training.
        snapshot: The values; None where they are in the archive only, or where the training
            failed with an error and left none.
    """

    record: TrainingRecord
    snapshot: Snapshot | None

    @property
    def genome(self) -> Genome:
        """The hyperparameters that it was trained with."""
        return self.record.genome


@dataclass(frozen=True)
class Judge:
    """What the best network of a run is the best in.

    Attributes:
        name: Name of a logged value.
        mode: Whether it is better small or large.
    """

    name: str
    mode: Mode

    def value(self, record: TrainingRecord) -> float:
        """Return a network's value; not finite where it has none."""
        if not record.epochs or record.archive is None or not isfinite(record.value):
            return nan
        return record.epochs[-1].value(self.name)
