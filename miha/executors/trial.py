"""Workers only where they pay, as the first populations on them show."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from miha.errors import ArgumentError, first_line
from miha.executors.parallel import ParallelExecutor, Workers, expected_seconds
from miha.executors.protocol import PopulationExecutor
from miha.executors.training import Training
from miha.records import Network, Snapshot, Task, TrainingRecord
from miha.storage.text_log import say

LEAST_SECONDS = 60.0
"""Seconds of clones to come, by what epochs have taken, for which workers are started."""

TRIALS = 2
"""Populations on workers by which it is judged: in the first one, each worker compiles."""

WORTH = 1.2
"""How many times as fast workers must be."""


class TrialExecutor:
    """Trains clones in this process, and on workers where those are measured to be faster.

    The workers start while a population trains here. What a clone becomes does not depend on
    where it trains.

    Args:
        here: Trains in this process.
        training: Finishes the clones of workers.
        workers: Not started yet.
        records: The run's trainings so far: they tell how long a clone takes.
    """

    def __init__(
        self,
        here: PopulationExecutor,
        training: Training,
        workers: Workers,
        records: Sequence[TrainingRecord],
    ) -> None:
        self._here = here
        self._training = training
        self._workers = workers
        self._records = records
        self._there: ParallelExecutor | None = None
        self._speeds: list[float] = []
        self._is_decided = False

    def train(
        self,
        tasks: Sequence[Task],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> Iterator[Network]:
        """See `PopulationExecutor`."""
        if self._there is None:
            self._start_if_worth(tasks)
            yield from self._here.train(tasks, done, parent, values)
            return

        expected = sum(map(expected_seconds(self._records), tasks[done:]))
        began = time.perf_counter()
        try:
            for network in self._there.train(tasks, done, parent, values):
                yield network
                done += 1
        except ArgumentError as error:
            self._stop(f"Workers cannot train this network: {first_line(error)}")
            yield from self._here.train(tasks, done, parent, values)
            return
        self._judge(expected / (time.perf_counter() - began))

    def _start_if_worth(self, tasks: Sequence[Task]) -> None:
        """Start the workers, for the next population, if there is enough to train."""
        # Without a measured epoch, nothing is known of seconds.
        if self._is_decided or not any(record.epochs for record in self._records):
            return
        cycles = self._training.plan.schedule.c - (tasks[0].cycle or 0)
        seconds = cycles * sum(map(expected_seconds(self._records), tasks))
        if seconds < LEAST_SECONDS:
            return
        try:
            pool = self._workers.start()
        except ArgumentError as error:
            self._stop(f"Workers cannot be started: {first_line(error)}")
            return
        if pool is not None:
            say(f"Workers are tried: {seconds:.0f} s of clones are to come.")
            self._there = ParallelExecutor(self._training, pool, self._records)

    def _judge(self, speed: float) -> None:
        """Keep the workers or end them, by how many times as fast they were as expected here."""
        if self._is_decided or not math.isfinite(speed):
            return
        self._speeds.append(speed)
        fastest = max(self._speeds)
        if fastest >= WORTH:
            self._is_decided = True
            say(f"Clones train on workers, which are {fastest:.2f} times as fast.")
        elif len(self._speeds) == TRIALS:
            self._stop(f"Clones train in this process: workers were {fastest:.2f} times as fast.")

    def _stop(self, reason: str) -> None:
        """Train in this process from now on."""
        say(reason)
        self._is_decided = True
        self._there = None
        self._workers.end()
