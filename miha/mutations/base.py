"""What every mutation is: a pure operator that draws from the generator it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

from numpy.random import Generator

from miha.errors import ArgumentError
from miha.records import Genome, Transition
from miha.space import Space


class Mutation(ABC):
    """One way to change a genome.

    A mutation of your own sets ``gene``, the name its changes go by, and writes `mutate`.

    Args:
        weight: How often it is drawn, relative to the others; positive.

    Attributes:
        transition: What becomes of the parent's values: by default, the clone inherits them.
    """

    gene: ClassVar[str]
    transition: Transition = "inherit"
    # A subclass of a user's may leave out the constructor.
    weight: float = 1.0

    def __init__(self, weight: float = 1.0) -> None:
        is_number = isinstance(weight, Real)
        if not is_number or not 0 < float(weight) < float("inf"):
            raise ArgumentError(
                f"`weight` must be positive and finite. Received: weight={weight!r}. "
                "Leave the mutation out to switch it off."
            )
        self.weight = float(weight)

    def describe(self) -> dict[str, Any]:
        """Return class and settings, for the run's record."""
        return {"class": type(self).__name__, **vars(self)}

    @abstractmethod
    def mutate(self, genome: Genome, space: Space, rng: Generator) -> Genome | None:
        """Return a genome that differs in this gene, or None where nothing can change.

        Args:
            genome: The parent's.
            space: What each gene may become.
            rng: The only source of randomness.
        """


def draw_one(values: Sequence[Any], rng: Generator) -> Any:
    """Draw one of some values; None where there are none."""
    if not values:
        return None
    return values[int(rng.integers(len(values)))]


def draw_other(values: Sequence[Any], current: Any, rng: Generator) -> Any:
    """Draw a value other than the current one; None where there is no other."""
    others = [value for value in values if value != current]
    return draw_one(others, rng)
