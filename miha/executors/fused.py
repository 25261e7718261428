"""Clones together in one program, where the trainer can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from miha.errors import MihaError, TrainerError, first_line
from miha.executors.training import Training
from miha.records import Epoch, Network, Snapshot, Task
from miha.trainer.protocol import PopulationTrainer, Trained
from miha.utils.warn import warn


@dataclass(frozen=True)
class Fused:
    """Trains those clones together that one program can train.

    They are those of one optimizer class and batch size. A group that some clones of are recorded
    already is trained as a whole again: how it rounds depends on how many it holds.

    Attributes:
        training: Trains one clone, and judges every one.
        trainer: Trains a group.
        at_once: Clones that there is memory for.
    """

    training: Training
    trainer: PopulationTrainer
    at_once: int

    def train(
        self, tasks: Sequence[Task], done: int, parent: Network, values: Snapshot
    ) -> Iterator[Network]:
        """See `CycleTrainer`."""
        groups = {place: group for group in self._groups(tasks, parent) for place in group}
        trained: dict[int, Trained | None] = {}
        for place in range(done, len(tasks)):
            if place not in trained:
                trained |= self._group(tasks, groups[place], done, parent, values)
            clone = trained.pop(place)
            if clone is None:
                yield self.training.run(tasks[place], parent, values)
            else:
                yield self.training.judge(tasks[place], parent, clone.epochs, clone.snapshot())

    def _groups(self, tasks: Sequence[Task], parent: Network) -> Iterator[list[int]]:
        """Yield the places of the clones that train together."""
        kinds = defaultdict[tuple[Any, ...], list[int]](list)
        for place, task in enumerate(tasks):
            genome, transition = task.genome, task.change.transition
            is_alone = self.trainer.goes_alone(parent.genome, genome, transition)
            own = (place,) if is_alone else ()
            kinds[genome.optimizer, genome.batch_size, *own].append(place)
        for places in kinds.values():
            for start in range(0, len(places), self.at_once):
                yield places[start : start + self.at_once]

    def _group(
        self,
        tasks: Sequence[Task],
        places: list[int],
        done: int,
        parent: Network,
        values: Snapshot,
    ) -> dict[int, Trained | None]:
        """Train a group; None stands for a clone that has to be trained alone."""
        if len(places) == 1:
            return {places[0]: None}
        new = [place for place in places if place >= done]
        for place in new:
            self.training.begin(tasks[place])

        def on_epoch(clone: int, epoch: Epoch) -> None:
            if places[clone] in new:
                self.training.end_epoch(tasks[places[clone]], epoch)

        first = tasks[places[0]]
        genomes = [tasks[place].genome for place in places]
        origins = [self.training.origin(tasks[place], parent) for place in places]
        generators = self.training.generators(first)
        try:
            trained = self.trainer.train_population(
                genomes, values, first.epochs, *generators, on_epoch, origins
            )
        except Exception as error:
            if isinstance(error, MihaError) and not isinstance(error, TrainerError):
                raise
            _warn(error)
            return dict.fromkeys(new)
        return {place: clone for place, clone in zip(places, trained, strict=True) if place in new}


def _warn(error: Exception) -> None:
    warn(
        "Clones could not be trained together, and are trained one after another: "
        f"{type(error).__name__}: {first_line(error)}"
    )
