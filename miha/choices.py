"""Which of several ways a run goes where there is a choice; a run that goes on keeps to it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from miha.errors import ArgumentError, JournalError, MihaWarning, RunExistsError, first_line
from miha.folder import RunFolder
from miha.identity import check_same
from miha.trainer.protocol import PopulationTrainer, Trainer

Population = Literal["auto", "fused", "sequential"]


@dataclass(frozen=True)
class Wishes:
    """What the user asks for.

    Attributes:
        population: Whether the clones of a cycle train together; ``"auto"``: where it is faster.
    """

    population: Population = "auto"

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
        obstacle = trainer.obstacle() if self.population == "fused" else None
        if obstacle:
            raise ArgumentError(
                "`population` can be 'fused' where one program can train several clones. "
                f"Received: population='fused', but {obstacle}. Leave `population` out, or run on "
                "Keras' JAX backend with a compiled network."
            )


@dataclass(frozen=True)
class Choices:
    """How a run goes, as its `run.json` says.

    Attributes:
        clones_at_once: How many clones train together at most; 1: one after another.
        seconds: What was measured to choose it.
    """

    clones_at_once: int
    seconds: Mapping[str, float]

    @property
    def population(self) -> str:
        """The way in the user's words."""
        return "fused" if self.clones_at_once > 1 else "sequential"

    def __str__(self) -> str:
        together = f"up to {self.clones_at_once} together"
        way = together if self.clones_at_once > 1 else "one after another"
        measured = ", ".join(f"{name} {value:.3g} s" for name, value in self.seconds.items())
        return f"Clones train {way}{measured and f' (measured: {measured})'}."

    def describe(self) -> dict[str, Any]:
        """Return what `run.json` says."""
        choices = {"population": self.population, "clones_at_once": self.clones_at_once}
        return {"choices": choices, "measured": dict(self.seconds)}

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Choices:
        """Return the choices that `describe` described."""
        return cls(description["choices"]["clones_at_once"], description["measured"])


def described(folder: RunFolder, description: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Describe a run with the choices of the one in its folder, as far as the user wants them.

    Raises:
        JournalError: The folder's run cannot be read.
    """
    found = folder.description()
    choices = dict(found.get("choices") or {})
    if wishes.population != "auto":
        choices["population"] = wishes.population
    return description | {"choices": choices, "measured": found.get("measured", {})}


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
    one_by_one = Choices(1, {})
    if wishes.population == "sequential" or pop_size == 1:
        return one_by_one
    if wishes.population == "fused":
        return Choices(_clones_at_once(cast(PopulationTrainer, trainer), pop_size), {})
    if not trainer.is_parallel or trainer.obstacle():
        return one_by_one
    return _faster(cast(PopulationTrainer, trainer), pop_size)


def _clones_at_once(trainer: PopulationTrainer, pop_size: int) -> int:
    number = trainer.clones_at_once(pop_size)
    if number < 2:
        raise ArgumentError(
            "`population` can be 'fused' where there is memory for at least two clones. "
            "Received: population='fused', and estimated to be too little. Choose 'sequential'."
        )
    return number


def _faster(trainer: PopulationTrainer, pop_size: int) -> Choices:
    """Measure which way is the faster one."""
    number = trainer.clones_at_once(pop_size)
    if number < 2:
        return Choices(1, {})
    together = min(number, pop_size)
    try:
        seconds = trainer.measure(together)
    except Exception as error:
        warnings.warn(
            f"Clones train one after another: {together} could not be tried together: "
            f"{type(error).__name__}: {first_line(error)}",
            MihaWarning,
            stacklevel=2,
        )
        return Choices(1, {})
    is_faster = seconds["together"] < seconds["alone"] * together
    return Choices(number if is_faster else 1, seconds)
