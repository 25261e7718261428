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
        number = zlib.crc32(repr(tuple(self)).encode())  # Names may differ in signs alone.
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
        memory: The most memory that the training process held, in megabytes; None: unknown.
        lines: Lines of code that the strategy takes.
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
    lines: int = 0
    curve: Sequence[tuple[float, float]] = ()
    failure: str | None = None
    start: Mapping[str, Any] | None = None
    circumstances: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        values: dict[str, Any] = plain(asdict(self) | {"place": self.place._asdict()})
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """Rebuild the cell that `to_dict` described."""
        found = dict(values) | {"place": Place(**values["place"])}
        found["scores"] = numbers(values["scores"])
        found["value"] = None if values["value"] is None else float(values["value"])
        found["curve"] = tuple((float(s), float(v)) for s, v in values["curve"])
        return cls(**found)
