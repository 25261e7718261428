"""Which of several ways a run goes where there is a choice; a run that goes on keeps to it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from miha.errors import ArgumentError, JournalError, RunExistsError, first_line
from miha.options import Compiler, Execution, PopulationWay
from miha.run.identity import check_same
from miha.storage.folder import RunFolder
from miha.trainer.protocol import PopulationTrainer, Trainer, Way, XlaTrainer
from miha.utils.warn import warn

WORTH = 0.8
"""Share of an epoch's time at which another compiler is worth it."""


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        population: Whether the clones of a cycle train together; ``"auto"``: where it is faster.
        compiler: What the network is compiled by; None: what its backend has by default.
    """

    population: PopulationWay = "auto"
    compiler: Compiler | None = None

    @classmethod
    def of(cls, execution: Execution) -> Request:
        """Return what an execution asks for."""
        population = execution.population
        if execution.is_remote and population == "auto":
            # Clones that train together round otherwise than those of workers.
            population = "sequential"
        return cls(population, execution.compiler)

    def check(self, trainer: Trainer) -> None:
        """Raise unless the trainer can do what is asked for.

        Raises:
            ArgumentError: It cannot.
        """
        if self.population == "fused":
            self._check_way("population", "fused", trainer)
        if self.compiler not in (None, "auto", trainer.compiler):
            self._check_way("compiler", cast(Way, self.compiler), trainer)

    def _check_way(
        self,
        name: str,
        way: Way,
        trainer: Trainer,
    ) -> None:
        obstacle = trainer.obstacle(way)
        if obstacle:
            cure = "Leave it out."
            if way == "fused":
                cure = "Run on Keras' JAX backend with a compiled network, or leave it out."
            raise ArgumentError(
                f"`{name}` must be a way that this network can go on this backend. "
                f"Received: {name}={way!r}, but {obstacle}. {cure}"
            )


@dataclass(frozen=True)
class Ways:
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
        way = "one after another"
        if self.clones_at_once > 1:
            way = f"up to {self.clones_at_once} together"
        length = f", of {self.xla_from} epochs or more" if self.xla_from else ""
        text = f"Clones train {way}. Trainings{length} are compiled by: {self.compiler}."
        if not self.seconds:
            return text
        measured = ", ".join(f"{name} {value:.3g} s" for name, value in self.seconds.items())
        return f"{text} Measured: {measured}."

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
    def from_dict(cls, description: Mapping[str, Any]) -> Ways:
        """Return the ways that `describe` described."""
        # Runs of earlier versions had no choice.
        choices = description["choices"] or {"compiler": "default"}
        return cls(
            choices.get("clones_at_once", 1),
            choices["compiler"],
            choices.get("xla_from"),
            description["measured"],
        )


def with_recorded_ways(
    folder: RunFolder, description: dict[str, Any], request: Request
) -> dict[str, Any]:
    """Describe a run with the choices of the one in its folder, as far as the user wants them.

    Raises:
        JournalError: The folder's run cannot be read.
    """
    found = folder.description()
    choices = dict(found.get("choices") or {})
    if request.population != "auto":
        choices["population"] = request.population
    if request.compiler not in (None, "auto"):
        choices["compiler"] = request.compiler
    return description | {"choices": choices or None, "measured": found.get("measured", {})}


def decide(
    folder: RunFolder,
    description: dict[str, Any],
    request: Request,
    trainer: Trainer,
    pop_size: int,
) -> dict[str, Any]:
    """Describe a run with its choices: those that it was begun with, else new ones.

    Args:
        folder: The run's.
        description: The run's, without choices.
        request: The user's.
        trainer: The live network; what a measurement teaches it has to be undone.
        pop_size: Clones in a cycle.

    Raises:
        ArgumentError: There is no memory for what the user asks for.
    """
    if folder.has_run:
        # Another run, or a damaged one, is replaced or refused later.
        with contextlib.suppress(RunExistsError, JournalError):
            whole = with_recorded_ways(folder, description, request)
            check_same(folder, whole)
            return whole
    return description | _choose(request, trainer, pop_size).describe()


def _choose(
    request: Request,
    trainer: Trainer,
    pop_size: int,
) -> Ways:
    """Choose how a new run goes, by a measurement where the user leaves that open."""
    clones_at_once, seconds = _population(request.population, trainer, pop_size)
    compiler, xla_from, more_seconds = _compiler(request.compiler, trainer)
    return Ways(clones_at_once, compiler, xla_from, seconds | more_seconds)


def _population(
    wanted: PopulationWay, trainer: Trainer, pop_size: int
) -> tuple[int, dict[str, float]]:
    """Return how many clones train together, and what was measured."""
    if wanted == "sequential" or pop_size == 1:
        return 1, {}
    if wanted == "fused":
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


def _faster(
    trainer: PopulationTrainer,
    pop_size: int,
) -> tuple[int, dict[str, float]]:
    """Measure which way a population trains faster."""
    number = trainer.clones_at_once(pop_size)
    together = min(number, pop_size)
    if together < 2:
        return 1, {}
    try:
        seconds = trainer.measure(together)
    except Exception as error:
        # The device may have less memory than was estimated.
        text = f"Clones train one after another: {together} could not be tried together"
        warn(_explained(text, error))
        return 1, {}
    is_faster = seconds["together"] < seconds["alone"] * together
    return (number if is_faster else 1), seconds


def _compiler(
    wanted: Compiler | None,
    trainer: Trainer,
) -> tuple[str, int | None, dict[str, float]]:
    """Return what compiles trainings of how many epochs, and what was measured."""
    own = trainer.compiler
    if wanted in (None, own) or (wanted == "auto" and trainer.obstacle("xla")):
        return own, None, {}
    if wanted == "xla":
        return "xla", 1, {}
    try:
        seconds = cast(XlaTrainer, trainer).measure_xla()
    except Exception as error:
        warn(_explained("The network is not compiled by XLA", error))
        return own, None, {}
    if seconds["xla epoch"] > WORTH * seconds["graph epoch"]:
        return own, None, seconds
    # A compilation pays after as many epochs as it takes to win its seconds back.
    saved = seconds["graph epoch"] - seconds["xla epoch"]
    epochs = math.ceil(seconds["xla compilation"] / saved)
    return "xla", max(epochs, 1), seconds


def _explained(text: str, error: Exception) -> str:
    return f"{text}: {type(error).__name__}: {first_line(error)}"
