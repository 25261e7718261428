"""Clones together in one program, where the trainer can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from miha.errors import first_line
from miha.executors.training import Training, is_user_error
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
        self,
        tasks: Sequence[Task],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> Iterator[Network]:
        """See `PopulationExecutor`."""
        groups: dict[int, list[int]] = {}
        for group in self._groups(tasks, parent):
            groups.update(dict.fromkeys(group, group))

        trained: dict[int, Trained] = {}
        tried: set[int] = set()
        for number in range(done, len(tasks)):
            group = groups[number]
            if number not in tried and len(group) > 1:
                tried.update(group)
                trained.update(self._train_group(tasks, group, done, parent, values))

            task = tasks[number]
            if number in trained:
                clone = trained.pop(number)
                snapshot = clone.snapshot()
                yield self.training.finished(task, parent, clone.epochs, snapshot)
            else:
                yield self.training.run(task, parent, values)

    def _groups(self, tasks: Sequence[Task], parent: TrainingRecord) -> Iterator[list[int]]:
        """Yield the numbers of the clones that train together."""
        kinds = defaultdict[tuple[Any, ...], list[int]](list)
        for number, task in enumerate(tasks):
            genome = task.genome
            kind: tuple[Any, ...] = (genome.optimizer, genome.batch_size)
            transition = task.change.transition
            if self.trainer.goes_alone(parent.genome, genome, transition):
                # Its number makes it the only one of its kind.
                kind = (*kind, number)
            kinds[kind].append(number)
        # A kind that there is not enough memory for trains in several groups.
        for numbers in kinds.values():
            for start in range(0, len(numbers), self.at_once):
                yield numbers[start : start + self.at_once]

    def _train_group(
        self,
        tasks: Sequence[Task],
        numbers: list[int],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> dict[int, Trained]:
        """Return the clones of a group that are not recorded yet; none where that failed."""
        group = [tasks[number] for number in numbers]
        new = [number for number in numbers if number >= done]
        for number in new:
            self.training.begin(tasks[number])
        watchers = []
        for number in numbers:
            # Callbacks have seen the epochs of recorded clones before.
            is_new = number in new
            watchers.append(partial(self.training.end_epoch, tasks[number]) if is_new else _ignore)
        order, noise = self.training.generators(group[0])
        try:
            trained = self.trainer.train_population(
                [task.genome for task in group],
                values,
                group[0].epochs,
                order,
                noise,
                lambda place, epoch: watchers[place](epoch),
                [self.training.origin(task, parent) for task in group],
            )
        except Exception as error:
            if is_user_error(error):
                raise
            warn(
                "Clones could not be trained together, and are trained one after another: "
                f"{type(error).__name__}: {first_line(error)}"
            )
            return {}
        clones = dict(zip(numbers, trained, strict=True))
        return {number: clones[number] for number in new}


def _ignore(epoch: Epoch) -> None:
    """Do nothing after an epoch."""
