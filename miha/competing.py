"""Competing: the clones of a population, as they come from where they train."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from miha.executors.asynchronous import Asynchronous
from miha.executors.protocol import CycleTrainer
from miha.records import UNCHANGED, Network, Task
from miha.run.recorder import Recorder
from miha.search.fitness import LOSES

Record = Callable[[Network, float], Network]
"""Records a network whose training began at a time of `time.perf_counter`; returns it, timed."""


class Populations(Protocol):
    """Has populations trained, as far as they are not recorded, and records them."""

    @property
    def late(self) -> tuple[int, ...]:
        """The clones of the last population that did not compete."""

    def train(self, tasks: Sequence[Task], parent: Network) -> Iterator[Network]:
        """Yield the clones of a cycle that compete, recorded.

        Args:
            tasks: The whole population.
            parent: The network to go on from.
        """

    def finish(self) -> None:
        """Wait for all clones that are still on their way, and record them."""


def populations(
    recorder: Recorder, executor: CycleTrainer | Asynchronous, record: Record, share: float | None
) -> Populations:
    """Return how a run has its populations trained.

    Args:
        recorder: What is done already.
        executor: Trains the rest.
        record: Records a clone.
        share: Of a population, what must have come; None: all.
    """
    if isinstance(executor, Asynchronous):
        return AsTheyCome(recorder, executor, record, 1.0 if share is None else share)
    return InOrder(recorder, executor, record)


class InOrder:
    """All clones compete, and are recorded in the order of their numbers.

    Args:
        recorder: What is done already.
        executor: Trains the rest.
        record: Records a clone.
    """

    late: tuple[int, ...] = ()

    def __init__(self, recorder: Recorder, executor: CycleTrainer, record: Record) -> None:
        self._recorder = recorder
        self._executor = executor
        self._record = record

    def train(self, tasks: Sequence[Task], parent: Network) -> Iterator[Network]:
        """See `Populations`."""
        done = 0
        while done < len(tasks) and (clone := self._recorder.recall(tasks[done])) is not None:
            done += 1
            yield clone
        if done < len(tasks):
            began, values = time.perf_counter(), self._recorder.values(parent)
            for clone in self._executor.train(tasks, done, parent, values):
                yield self._record(clone, began)
                began = time.perf_counter()

    def finish(self) -> None:
        """See `Populations`."""


class AsTheyCome:
    """Those clones compete that come soon; the others train on, and are recorded when they come.

    Which ones competed is a matter of time, and journalled with the selection: what is decided
    later, by this process or another, is decided by the journal.

    Args:
        recorder: What is done already.
        executor: Trains the rest.
        record: Records a clone.
        share: Of a population, what must have come.
    """

    def __init__(
        self, recorder: Recorder, executor: Asynchronous, record: Record, share: float
    ) -> None:
        self.late: tuple[int, ...] = ()
        self._recorder = recorder
        self._executor = executor
        self._record = record
        self._share = share
        self._left: list[tuple[list[Task], Network]] = []  # By an earlier process, not begun here.

    def train(self, tasks: Sequence[Task], parent: Network) -> Iterator[Network]:
        """See `Populations`."""
        poll = Poll(tasks, self._share)
        while (clone := self._recorder.recall_next(tasks)) is not None:
            poll.add(clone)
            yield clone
        if tasks[0].cycle in self._recorder.past.winners:
            self._left.append((poll.missing, parent))
        else:
            yield from self._compete(poll, parent, tasks[0].cycle)
        self.late = tuple(task.clone for task in poll.missing if task.clone is not None)

    def finish(self) -> None:
        """See `Populations`."""
        self._recorder.pass_late()
        self._resume()
        while self._executor.unfinished:
            self._record(self._executor.take(None), time.perf_counter())

    def _compete(self, poll: Poll, parent: Network, cycle: int | None) -> Iterator[Network]:
        """Have what is missing trained, after late clones; yield what comes until it is enough."""
        self._resume()
        self._executor.add(poll.missing, parent, self._recorder.values(parent))
        began = time.perf_counter()
        while not poll.is_closed(self._executor.waiting):
            clone = self._executor.take(cycle)
            if clone.late:
                self._record(clone, time.perf_counter())
                continue
            clone = self._record(clone, began)
            began = time.perf_counter()
            poll.add(clone)
            yield clone

    def _resume(self) -> None:
        """Have the late clones trained that an earlier process has not seen come."""
        there = {(entry["cycle"], entry["clone"]) for entry in self._recorder.log.trainings}
        for tasks, parent in self._left:
            missing = [task for task in tasks if (task.cycle, task.clone) not in there]
            if missing:
                self._executor.add(missing, parent, self._recorder.values(parent))
        self._left = []


class Poll:
    """Which clones of a cycle have come, and whether it is enough to choose among them.

    It is when no clone waits to be begun, the share has come, and in it the control, where there
    is one, and a mutant that has not failed; or all have come.

    Args:
        tasks: The whole population.
        share: What must have come.
    """

    def __init__(self, tasks: Sequence[Task], share: float) -> None:
        self.missing = list(tasks)
        self._most_missing = len(tasks) - math.ceil(share * len(tasks))
        self._has_mutant = False

    def add(self, clone: Network) -> None:
        """Note one that has come."""
        self.missing = [task for task in self.missing if task.clone != clone.task.clone]
        is_mutant = clone.task.change.gene != UNCHANGED.gene
        self._has_mutant |= is_mutant and clone.fitness is not None and clone.fitness > LOSES

    def is_closed(self, waiting: Sequence[Task]) -> bool:
        """Tell whether the cycle can be decided.

        Args:
            waiting: Clones that nobody has begun.
        """
        if not self.missing:
            return True
        has_begun = not any(task in waiting for task in self.missing)
        has_control = all(task.change.gene != UNCHANGED.gene for task in self.missing)
        is_share = len(self.missing) <= self._most_missing
        return has_begun and has_control and self._has_mutant and is_share
