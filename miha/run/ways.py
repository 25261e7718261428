"""Which of several ways a run goes where there is a choice; a run that goes on keeps to it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from miha.errors import ArgumentError, JournalError, RunExistsError, first_line
from miha.options import Compiler, Execution, PopulationWay
from miha.records import Schedule
from miha.run.identity import check_same
from miha.storage.folder import RunFolder
from miha.trainer.protocol import PopulationTrainer, Trainer, Way, XlaScope, XlaTrainer
from miha.utils.warn import warn

LONG = 20_000
"""Steps of a run from which XLA is worth its seconds of compiling, by far.

A number, and no measurement: a run and its repetition must not be trained two ways.
"""


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        population: Whether the clones of a cycle train together; ``"auto"``: where it is faster.
        compiler: What compiles an epoch.
        tries_workers: Whether workers are started only where they are shown to pay.
        checkpoint_seconds: How often a long training notes how far it has come; None: never.
    """

    population: PopulationWay = "auto"
    compiler: Compiler = "auto"
    tries_workers: bool = False
    checkpoint_seconds: float | None = None

    @classmethod
    def of(cls, execution: Execution) -> Request:
        """Return what an execution asks for."""
        population = execution.population
        if execution.is_remote and population == "auto":
            # Clones that train together round otherwise than those of workers.
            population = "sequential"
        return cls(
            population=population,
            compiler=execution.compiler,
            tries_workers=execution.workers == "auto",
            checkpoint_seconds=execution.checkpoint_seconds,
        )

    def check(self, trainer: Trainer) -> None:
        """Raise unless the trainer can do what is asked for.

        Raises:
            ArgumentError: It cannot.
        """
        if self.population == "fused":
            self._check_way("population", "fused", trainer)
        if self.compiler == "xla" and trainer.compiler != "xla":
            self._check_way("compiler", "xla", trainer)

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
        compiler: What compiles a step.
        xla: Which trainings are compiled by XLA as a whole; None: none on TensorFlow.
        seconds: What was measured to choose.
    """

    clones_at_once: int
    compiler: str
    xla: XlaScope | None
    seconds: Mapping[str, float]

    @property
    def population(self) -> str:
        """The way in the user's words."""
        return "fused" if self.clones_at_once > 1 else "sequential"

    def __str__(self) -> str:
        way = "one after another"
        if self.clones_at_once > 1:
            way = f"up to {self.clones_at_once} together"
        text = f"Clones train {way}. Compiled by: {self._compilers}."
        if not self.seconds:
            return text
        measured = ", ".join(f"{name} {value:.3g} s" for name, value in self.seconds.items())
        return f"{text} Measured: {measured}."

    @property
    def _compilers(self) -> str:
        if self.xla is None:
            return self.compiler
        if self.xla == "all" or self.compiler == "xla":
            return "xla"
        return f"xla; {self.compiler} where a clone has another optimizer or batch size"

    def describe(self) -> dict[str, Any]:
        """Return what `run.json` says."""
        choices = {
            "population": self.population,
            "clones_at_once": self.clones_at_once,
            "compiler": self.compiler,
            "xla": self.xla,
        }
        return {"choices": choices, "measured": dict(self.seconds)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Ways:
        """Return the ways that `describe` described."""
        # Runs of earlier versions had no choice.
        choices = description["choices"] or {"compiler": "default"}
        # Of version 0.3: from how many epochs on.
        earlier = "all" if choices.get("xla_from") else None
        return cls(
            choices.get("clones_at_once", 1),
            choices["compiler"],
            choices.get("xla", earlier),
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
    if request.compiler != "auto":
        choices["xla"] = "all" if request.compiler == "xla" else None
    return description | {"choices": choices or None, "measured": found.get("measured", {})}


def decide(
    folder: RunFolder,
    description: dict[str, Any],
    request: Request,
    trainer: Trainer,
    schedule: Schedule,
) -> dict[str, Any]:
    """Describe a run with its choices: those that it was begun with, else new ones.

    Args:
        folder: The run's.
        description: The run's, without choices.
        request: The user's.
        trainer: The live network; what a measurement teaches it has to be undone.
        schedule: How long the run is.

    Raises:
        ArgumentError: There is no memory for what the user asks for.
    """
    if folder.has_run:
        # Another run, or a damaged one, is replaced or refused later.
        with contextlib.suppress(RunExistsError, JournalError):
            whole = with_recorded_ways(folder, description, request)
            check_same(folder, whole)
            return whole
    return description | _choose(request, trainer, schedule).describe()


def _choose(
    request: Request,
    trainer: Trainer,
    schedule: Schedule,
) -> Ways:
    """Choose how a new run goes, by a measurement where the user leaves that open."""
    clones_at_once, seconds = _population(request.population, trainer, schedule.pop_size)
    xla = _xla_scope(request.compiler, trainer, schedule.epochs)
    return Ways(clones_at_once, trainer.compiler, xla, seconds)


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


def _xla_scope(
    wanted: Compiler,
    trainer: Trainer,
    epochs: int,
) -> XlaScope | None:
    """Return which trainings XLA compiles as a whole, after it has compiled one."""
    if wanted == "exact":
        return None
    if not isinstance(trainer, XlaTrainer) or trainer.obstacle("xla"):
        return "all" if wanted == "xla" else None
    if wanted == "auto" and epochs * trainer.steps_per_epoch < LONG:
        return None
    try:
        trainer.compile_xla()
    except Exception as error:
        warn(_explained("XLA is not used, for it cannot compile the network", error))
        return None
    return "all" if wanted == "xla" else "network"


def _explained(text: str, error: Exception) -> str:
    return f"{text}: {type(error).__name__}: {first_line(error)}"
