"""Which of several ways a run goes where there is a choice; a run that goes on keeps to it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from miha.errors import ArgumentError, JournalError, RunExistsError, first_line
from miha.run.identity import check_same
from miha.storage.folder import RunFolder
from miha.trainer.protocol import PopulationTrainer, Trainer, Way, XlaTrainer
from miha.utils.warn import warn

Population = Literal["auto", "fused", "sequential"]
Compiler = Literal["auto", "graph", "xla"]

WORTH = 0.8
"""Share of an epoch's time at which another compiler is worth it."""


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
        population: Whether the clones of a cycle train together; ``"auto"``: where it is faster.
        compiler: What the network is compiled by; None: what its backend has by default.
    """

    population: Population = "auto"
    compiler: Compiler | None = None

    def check(self, trainer: Trainer) -> None:
        """Raise unless the trainer can do what is asked for.

        Raises:
            ArgumentError: It cannot.
        """
        if self.population not in get_args(Population):
            raise ArgumentError(
                f"`population` must be one of {list(get_args(Population))}. "
                f"Received: population={self.population!r}. Choose one."
            )
        if self.compiler not in (None, *get_args(Compiler)):
            raise ArgumentError(
                f"`compiler` must be one of {list(get_args(Compiler))}, or None. "
                f"Received: compiler={self.compiler!r}. Choose one."
            )
        if self.population == "fused":
            self._check_way("population", "fused", trainer)
        if self.compiler not in (None, "auto", trainer.compiler):
            self._check_way("compiler", cast(Way, self.compiler), trainer)

    def _check_way(self, name: str, way: Way, trainer: Trainer) -> None:
        obstacle = trainer.obstacle(way)
        if obstacle:
            cures = {"fused": "Run on Keras' JAX backend with a compiled network, or l"}
            raise ArgumentError(
                f"`{name}` must be a way that this network can go on this backend. "
                f"Received: {name}={way!r}, but {obstacle}. {cures.get(way, 'L')}eave it out."
            )


@dataclass(frozen=True)
class Choices:
    """How a run goes, as its `run.json` says.

    Attributes:
        clones_at_once: How many clones train together at most; 1: one after another.
        compiler: What the network is compiled by.
        xla_from: Epochs of the trainings that XLA compiles; None where there is no choice.
        seconds: What was measured to choose.
    """

    clones_at_once: int
    compiler: str
    xla_from: int | None
    seconds: Mapping[str, float]

    @property
    def population(self) -> str:
        """The way in the user's words."""
        return "fused" if self.clones_at_once > 1 else "sequential"

    def __str__(self) -> str:
        together = f"up to {self.clones_at_once} together"
        way = together if self.clones_at_once > 1 else "one after another"
        xla = f", of {self.xla_from} epochs or more" if self.xla_from else ""
        measured = ", ".join(f"{name} {value:.3g} s" for name, value in self.seconds.items())
        return (
            f"Clones train {way}. Trainings{xla} are compiled by: {self.compiler}."
            f"{measured and f' Measured: {measured}.'}"
        )

    def describe(self) -> dict[str, Any]:
        """Return what `run.json` says."""
        choices = {
            "population": self.population,
            "clones_at_once": self.clones_at_once,
            "compiler": self.compiler,
            "xla_from": self.xla_from,
        }
        return {"choices": choices, "measured": dict(self.seconds)}

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Choices:
        """Return the choices that `describe` described."""
        # Runs of earlier versions had no choice.
        choices = description["choices"] or {"compiler": "default"}
        return cls(
            choices.get("clones_at_once", 1),
            choices["compiler"],
            choices.get("xla_from"),
            description["measured"],
        )


def described(folder: RunFolder, description: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Describe a run with the choices of the one in its folder, as far as the user wants them.

    Raises:
        JournalError: The folder's run cannot be read.
    """
    found = folder.description()
    choices = dict(found.get("choices") or {})
    if wishes.population != "auto":
        choices["population"] = wishes.population
    if wishes.compiler not in (None, "auto"):
        choices["compiler"] = wishes.compiler
    return description | {"choices": choices or None, "measured": found.get("measured", {})}


def settle(
    folder: RunFolder, description: dict[str, Any], wishes: Wishes, trainer: Trainer, pop_size: int
) -> dict[str, Any]:
    """Describe a run with its choices: those that it was begun with, else new ones.

    Args:
        folder: The run's.
        description: The run's, without choices.
        wishes: The user's.
        trainer: The live network; what a measurement teaches it has to be undone.
        pop_size: Clones in a cycle.

    Raises:
        ArgumentError: There is no memory for what the user asks for.
    """
    if folder.has_run:
        with contextlib.suppress(RunExistsError, JournalError):
            whole = described(folder, description, wishes)
            check_same(folder, whole)
            return whole
    return description | _choose(wishes, trainer, pop_size).describe()


def _choose(wishes: Wishes, trainer: Trainer, pop_size: int) -> Choices:
    at_once, seconds = _population(wishes.population, trainer, pop_size)
    compiler, xla_from, more = _compiler(wishes.compiler, trainer)
    return Choices(at_once, compiler, xla_from, {**seconds, **more})


def _population(wish: Population, trainer: Trainer, pop_size: int) -> tuple[int, dict[str, float]]:
    """Return how many clones train together, and what was measured."""
    if wish == "sequential" or pop_size == 1:
        return 1, {}
    if wish == "fused":
        return _clones_at_once(cast(PopulationTrainer, trainer), pop_size), {}
    if not trainer.is_parallel or trainer.obstacle("fused"):
        return 1, {}
    return _faster(cast(PopulationTrainer, trainer), pop_size)


def _clones_at_once(trainer: PopulationTrainer, pop_size: int) -> int:
    number = trainer.clones_at_once(pop_size)
    if number < 2:
        raise ArgumentError(
            "`population` can be 'fused' where there is memory for at least two clones. "
            "Received: population='fused', and estimated to be too little. Choose 'sequential'."
        )
    return number


def _faster(trainer: PopulationTrainer, pop_size: int) -> tuple[int, dict[str, float]]:
    """Measure which way a population trains faster."""
    number = trainer.clones_at_once(pop_size)
    together = min(number, pop_size)
    if together < 2:
        return 1, {}
    try:
        seconds = trainer.measure(together)
    except Exception as error:
        _warn(f"Clones train one after another: {together} could not be tried together", error)
        return 1, {}
    is_faster = seconds["together"] < seconds["alone"] * together
    return (number if is_faster else 1), seconds


def _compiler(wish: Compiler | None, trainer: Trainer) -> tuple[str, int | None, dict[str, float]]:
    """Return what compiles trainings of how many epochs, and what was measured."""
    own = trainer.compiler
    if wish in (None, own) or (wish == "auto" and trainer.obstacle("xla")):
        return own, None, {}
    if wish == "xla":
        return "xla", 1, {}
    try:
        seconds = cast(XlaTrainer, trainer).measure_xla()
    except Exception as error:
        _warn("The network is not compiled by XLA", error)
        return own, None, {}
    saved = seconds["graph epoch"] - seconds["xla epoch"]
    if seconds["xla epoch"] > WORTH * seconds["graph epoch"]:
        return own, None, seconds
    return "xla", max(math.ceil(seconds["xla compilation"] / saved), 1), seconds


def _warn(text: str, error: Exception) -> None:
    message = f"{text}: {type(error).__name__}: {first_line(error)}"
    warn(message)
