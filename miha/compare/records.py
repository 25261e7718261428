"""The records of a comparison."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from miha.utils.json_values import numbers, plain


class Place(NamedTuple):
    """Which cell of a comparison.

    Attributes:
        start: Name of the start.
        strategy: Name of the strategy.
        seed: The pair's.
    """

    start: str
    strategy: str
    seed: int

    @property
    def file(self) -> str:
        """The name of a file about it, without an ending."""
        words = re.sub(r"[^\w.]+", "-", "-".join(map(str, self)))
        # Two names may differ in signs alone, which the line above makes alike.
        number = zlib.crc32(repr(tuple(self)).encode())
        return f"{words}-{number:08x}"

    def __str__(self) -> str:
        return f"{self.strategy}, start {self.start}, seed {self.seed}"


@dataclass(frozen=True)
class Cell:
    """What one strategy made of one start with one seed.

    Attributes:
        place: Which cell this is.
        scores: On the test data, of the network that the monitored value picked.
        value: The monitored value of that network.
        genome: Its hyperparameters.
        epochs: Trained epochs, of every network.
        seconds: Wall time of the strategy, without the scoring.
        memory: The peak memory of the training process, in megabytes; None: unknown.
        curve: Seconds since the beginning and monitored value after each trained epoch.
        failure: Why the strategy has failed, if it has.
        start: The configuration it began with.
        circumstances: Machine and versions it ran on.
    """

    place: Place
    scores: Mapping[str, float] = field(default_factory=dict)
    value: float | None = None
    genome: Mapping[str, Any] | None = None
    epochs: int = 0
    seconds: float = 0.0
    memory: float | None = None
    curve: Sequence[tuple[float, float]] = ()
    failure: str | None = None
    start: Mapping[str, Any] | None = None
    circumstances: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_curve(self) -> bool:
        """Whether there is something to draw: it has trained, and has not failed."""
        return bool(self.curve) and not self.failure

    def within(self, seconds: float) -> list[float]:
        """Return the monitored values of the epochs that ended within so many seconds."""
        return [value for at, value in self.curve if at <= seconds]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        values = asdict(self)
        values["place"] = self.place._asdict()
        found: dict[str, Any] = plain(values)
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """Rebuild the cell that `to_dict` described."""
        found = dict(values)
        # Earlier versions counted the lines of code of a strategy.
        found.pop("lines", None)

        found["place"] = Place(**found["place"])
        found["scores"] = numbers(found["scores"])
        if found["value"] is not None:
            found["value"] = float(found["value"])
        curve = [tuple(map(float, point)) for point in found["curve"]]
        found["curve"] = tuple(curve)
        return cls(**found)
