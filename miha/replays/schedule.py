"""The sequence of hyperparameters that a run has found, as a training can follow it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from miha.archive.members import genome as read_genome
from miha.errors import ArgumentError
from miha.records import Change, FinalData, Genome, Phase, Task, TrainingRecord, Transition
from miha.search.ancestry import main_line
from miha.search.annealing import cosine
from miha.storage.disk import write_whole
from miha.trainer.protocol import XlaScope
from miha.validation import check_integer, check_one_of, is_number

FORMAT = 1


@dataclass(frozen=True)
class Segment:
    """Some epochs with the same hyperparameters.

    Attributes:
        epochs: How many, at least 1.
        genome: The hyperparameters.
        phase: Which training of the run it was; with cycle and clone, the place of its draws.
        cycle: 1 to c; None in the first and the last training.
        clone: Its number in the population; None unless it was a clone.
        transition: What became of the network's values before it.
        rates: The factor of the learning rate in each epoch; empty where it stays.
        data: What it takes its samples from.
    """

    epochs: int
    genome: Genome
    phase: Phase = "initial"
    cycle: int | None = None
    clone: int | None = None
    transition: Transition = "inherit"
    rates: tuple[float, ...] = ()
    data: FinalData = "train"

    @property
    def task(self) -> Task:
        """The training that follows it; fresh weights are those of the network at hand."""
        transition = self.transition
        if transition == "restart":
            transition = "inherit"
        change = Change("replay", str(self.genome), transition)
        return Task(
            phase=self.phase,
            cycle=self.cycle,
            clone=self.clone,
            epochs=self.epochs,
            genome=self.genome,
            change=change,
            archive="",
            rates=self.rates,
            data=self.data,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**asdict(self), "genome": self.genome.to_dict()}

    @classmethod
    def of(
        cls,
        record: TrainingRecord,
        anneal: bool,
    ) -> Segment:
        """Return the segment that a training of a run was.

        Args:
            record: The training.
            anneal: Whether the run anneals its last training, which version 0.3.0 did not note.
        """
        rates = record.rates
        if not rates and anneal and record.phase == "final":
            rates = cosine(len(record.epochs))
        return cls(
            epochs=len(record.epochs),
            genome=record.genome,
            phase=record.phase,
            cycle=record.cycle,
            clone=record.clone,
            transition=record.change.transition,
            # A training that diverged stopped early.
            rates=rates[: len(record.epochs)],
            data=record.data,
        )


@dataclass(frozen=True)
class HyperparameterSchedule:
    """The hyperparameters that won in a run, segment by segment.

    Attributes:
        segments: In order; at least one.
        seed: The run's. A replay of the same first network with it repeats the run's own way.
        xla: Which trainings of the run XLA compiled as a whole; None: none.
        augmentation: Configurations of the layers that could change its inputs; empty: none.
    """

    segments: tuple[Segment, ...]
    seed: int | None = None
    xla: XlaScope | None = None
    augmentation: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.segments:
            raise ArgumentError(
                "A schedule of hyperparameters must have at least one segment. "
                "Received: none. Take it from a run that has trained: `result.schedule`."
            )

    @classmethod
    def along(
        cls,
        records: Sequence[TrainingRecord],
        last: TrainingRecord,
        anneal: bool,
        seed: int,
        xla: XlaScope | None = None,
        augmentation: Sequence[Any] = (),
    ) -> HyperparameterSchedule:
        """Return the schedule of the main line that led to a network.

        The main line is that of the weights: it goes from parent to parent. What was given up by
        backtracking, and what diverged, is no part of it. It begins where the weights do: with the
        run, or with the last restart. Of the parents of a child, the fitter one is followed: a
        mean of weights is no hyperparameter.

        Args:
            records: The run's trainings.
            last: The one that made the network.
            anneal: Whether the run anneals its last training.
            seed: The run's.
            xla: Which trainings XLA compiled as a whole.
            augmentation: Configurations of the layers that could change inputs.
        """
        segments = []
        for record in main_line(records, last):
            # A child of two clones has no epochs, as the end of a run that reached its target.
            if record.epochs and record.failure is None:
                segments.append(Segment.of(record, anneal))
        return cls(tuple(segments), seed, xla, tuple(augmentation))

    @property
    def epochs(self) -> int:
        """All epochs."""
        return sum(segment.epochs for segment in self.segments)

    @property
    def takes_all_data(self) -> bool:
        """Whether some of its epochs train on the validation data, too."""
        return any(segment.data == "all" for segment in self.segments)

    @property
    def genome(self) -> Genome:
        """The hyperparameters that it ends with."""
        return self.segments[-1].genome

    def __str__(self) -> str:
        lines = []
        for segment in self.segments:
            ending = ", annealed" if segment.rates else ""
            if segment.data == "all":
                ending += ", on the validation data, too"
            lines.append(f"{segment.epochs} epochs: {segment.genome}{ending}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        segments = [segment.to_dict() for segment in self.segments]
        return {
            "format": FORMAT,
            "seed": self.seed,
            "xla": self.xla,
            "augmentation": list(self.augmentation),
            "segments": segments,
        }

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
    ) -> HyperparameterSchedule:
        """Rebuild the schedule that `to_dict` described.

        Raises:
            ArgumentError: The values describe none.
        """
        try:
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r} is not {FORMAT}")
            # What version 0.3.0 wrote has another name for the segments.
            name = "segments" if "segments" in values else "stretches"
            segments = [_read_segment(segment) for segment in values[name]]
            xla = values.get("xla")
            check_one_of("xla", xla, (None, *get_args(XlaScope)))
            augmentation = tuple(values.get("augmentation", ()))
            return cls(tuple(segments), values["seed"], xla, augmentation)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ArgumentError(
                "A schedule of hyperparameters must be as `save` or `to_dict` wrote it. "
                f"Received: {str(values)[:200]}: {error!r}. Write it again from its run: "
                "miha.load_run(...).schedule."
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the schedule as JSON.

        Args:
            path: The file; it is replaced in one step.

        Raises:
            StorageError: It cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2)
        write_whole(Path(path), f"{text}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> HyperparameterSchedule:
        """Read a schedule that `save` wrote.

        Args:
            path: The file.

        Raises:
            ArgumentError: It is missing, or holds no schedule.
        """
        try:
            values = json.loads(Path(path).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ArgumentError(
                "`path` must name a file that `HyperparameterSchedule.save` wrote. "
                f"Received: {str(path)!r}: {error!r}. Write it again from its run."
            ) from error
        return cls.from_dict(values)


def as_schedule(schedule: Any) -> HyperparameterSchedule:
    """Return a schedule, read from its file where that was given.

    Raises:
        ArgumentError: It is neither.
    """
    if isinstance(schedule, (str, Path)):
        return HyperparameterSchedule.load(schedule)
    if not isinstance(schedule, HyperparameterSchedule):
        raise ArgumentError(
            "`schedule` must be a `miha.HyperparameterSchedule`, or the file of one. "
            f"Received: {type(schedule)}. Take it from a run: `result.schedule`."
        )
    return schedule


def _read_segment(values: Mapping[str, Any]) -> Segment:
    """Return a segment whose values may be anybody's.

    Raises:
        ValueError: One is not what it must be.
    """
    check_one_of("phase", values["phase"], get_args(Phase))
    check_one_of("transition", values["transition"], get_args(Transition))
    check_integer("epochs", values["epochs"], 1)
    for name, low in (("cycle", 1), ("clone", 0)):
        if values[name] is not None:
            check_integer(name, values[name], low)
    rates = _read_rates(values)
    data = values.get("data", "train")
    check_one_of("data", data, get_args(FinalData))
    return Segment(
        epochs=values["epochs"],
        genome=read_genome({"genome": values["genome"]}),
        phase=values["phase"],
        cycle=values["cycle"],
        clone=values["clone"],
        transition=values["transition"],
        rates=rates,
        data=data,
    )


def _read_rates(values: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the factors of a segment's learning rate; version 0.3.0 noted only whether it fell.

    Raises:
        ValueError: They are no factors of 0 to 1, or not one for each epoch.
    """
    epochs = values["epochs"]
    if "rates" not in values:
        return cosine(epochs) if values["anneal"] else ()
    rates = values["rates"]
    is_list = isinstance(rates, (list, tuple)) and len(rates) in (0, epochs)
    if not is_list or not all(is_number(rate) and 0 <= rate <= 1 for rate in rates):
        raise ValueError("`rates` must be a factor of 0 to 1 for each epoch, or none")
    return tuple(float(rate) for rate in rates)
