"""Clones together in one program, where the trainer can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from miha.errors import first_line
from miha.executors.training import Training, is_user_error, stops_at_limits
from miha.records import Epoch, Network, Snapshot, Task, TrainingRecord
from miha.trainer.protocol import PopulationTrainer, Trained
from miha.utils.warn import warn


@dataclass(frozen=True)
class FusedExecutor:
    """Trains those clones together that one program can train.

    They are those of one optimizer class and batch size. A group that some clones of are recorded
    already is trained as a whole again: how it rounds depends on how many clones it has.

    Attributes:
        training: Trains one clone, and finishes every one.
        trainer: Trains a group.
        at_once: Clones that there is memory for.
    """

    training: Training
    trainer: PopulationTrainer
    at_once: int

    def train(
        self, tasks: Sequence[Task], done: int, parent: TrainingRecord, values: Snapshot
    ) -> Iterator[Network]:
        """See `PopulationExecutor`."""
        groups = {place: group for group in self._groups(tasks, parent) for place in group}
        trained: dict[int, Trained | None] = {}
        for place in range(done, len(tasks)):
            if place not in trained:
                trained |= self._train_group(tasks, groups[place], done, parent, values)
            clone = trained.pop(place)
            if clone is None:
                yield self.training.run(tasks[place], parent, values)
            else:
                snapshot = clone.snapshot()
                yield self.training.finished(tasks[place], parent, clone.epochs, snapshot)

    def _groups(self, tasks: Sequence[Task], parent: TrainingRecord) -> Iterator[list[int]]:
        """Yield the places of the clones that train together."""
        kinds = defaultdict[tuple[Any, ...], list[int]](list)
        for place, task in enumerate(tasks):
            genome = task.genome
            kind: tuple[Any, ...] = (genome.optimizer, genome.batch_size)
            if self.trainer.goes_alone(parent.genome, genome, task.change.transition):
                kind = (*kind, place)
            kinds[kind].append(place)
        for places in kinds.values():
            for start in range(0, len(places), self.at_once):
                yield places[start : start + self.at_once]

    def _train_group(
        self,
        tasks: Sequence[Task],
        places: list[int],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> dict[int, Trained | None]:
        """Train a group; None stands for a clone that has to be trained alone."""
        if len(places) == 1:
            return {places[0]: None}
        group = [tasks[place] for place in places]
        new = [place for place in places if place >= done]
        for place in new:
            self.training.begin(tasks[place])

        def watch(place: int) -> Callable[[Epoch], bool]:
            # Who watches has seen the epochs of recorded clones before.
            end_epoch = self.training.end_epoch if place in new else _ignore
            return stops_at_limits(tasks[place], partial(end_epoch, tasks[place]))

        stops = [watch(place) for place in places]
        try:
            trained = self.trainer.train_population(
                [task.genome for task in group],
                values,
                group[0].epochs,
                *self.training.generators(group[0]),
                lambda clone, epoch: stops[clone](epoch),
                [self.training.origin(task, parent) for task in group],
            )
        except Exception as error:
            if is_user_error(error):
                raise
            warn(
                "Clones could not be trained together, and are trained one after another: "
                f"{type(error).__name__}: {first_line(error)}"
            )
            return dict.fromkeys(new)
        pairs = zip(places, trained, strict=True)
        return {place: clone for place, clone in pairs if place in new}


def _ignore(task: Task, epoch: Epoch) -> None:
    """Tell nobody of an epoch."""
