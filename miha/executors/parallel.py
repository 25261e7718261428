"""Clones in other processes: the longest first, recorded in the order of their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from miha.errors import MihaError
from miha.executors.protocol import CloneResult, Executor, Failure, Job, WorkerLost, WorkerPool
from miha.executors.training import Training, failed
from miha.records import Network, Snapshot, Task, TrainingRecord
from miha.storage.text_log import log_warning

MOST_LOSSES = 2
"""Workers that may die of a clone before it has failed."""

Speed = tuple[int, str]
"""Batch size and optimizer: what the time of an epoch depends on most."""


@dataclass(frozen=True)
class ParallelExecutor:
    """Trains clones on workers, the longest first, so that none waits long at the end.

    Attributes:
        training: Finishes the clones.
        workers: Train them.
        records: The run's trainings so far: they tell how long a clone takes.
    """

    training: Training
    workers: WorkerPool
    records: Sequence[TrainingRecord]

    def train(
        self,
        tasks: Sequence[Task],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> Iterator[Network]:
        """See `PopulationExecutor`."""
        expected = expected_seconds(self.records)

        def shortness(number: int) -> float:
            return -expected(tasks[number])

        numbers = range(done, len(tasks))
        longest_first = sorted(numbers, key=shortness)
        shared = self.workers.share(parent.genome, values)
        queue = _Queue(self.workers, tasks, longest_first, shared)

        results: dict[int, CloneResult] = {}
        for number in numbers:
            while number not in results:
                results.update(queue.next_results())
            yield self._network(tasks[number], parent, results.pop(number))

    def _network(self, task: Task, parent: TrainingRecord, result: CloneResult) -> Network:
        """Call the callbacks for a clone's epochs, and return the clone."""
        self.training.begin(task)
        for epoch in result.epochs:
            self.training.end_epoch(task, epoch)
        if result.failure is None and result.snapshot is not None:
            return self.training.finished(task, parent, result.epochs, result.snapshot)

        failure = result.failure or Failure("no values came back.", "no values came back")
        if failure.ends_run:
            raise MihaError(failure.text)
        return failed(task, parent, failure.text, failure.traceback)


class _Queue:
    """Submits clones to workers; one that loses its worker comes first again.

    Args:
        workers: Train them.
        tasks: All clones of a cycle.
        numbers: Those to train, in the order in which they are submitted.
        shared: The parent's values, as `WorkerPool.share` has returned them.
    """

    def __init__(
        self,
        workers: WorkerPool,
        tasks: Sequence[Task],
        numbers: Sequence[int],
        shared: object,
    ) -> None:
        self._workers = workers
        self._tasks = tasks
        self._waiting = list(numbers)
        self._shared = shared
        self._losses = Counter[int]()
        self._submit()

    def next_results(self) -> dict[int, CloneResult]:
        """Wait for workers; return the clones that have ended, if any."""
        ended = dict[int, CloneResult]()
        for number, result in self._workers.results():
            if isinstance(result, CloneResult):
                ended[number] = result
            elif self._is_repeated(number, result):
                self._waiting.insert(0, number)
            else:
                # Its genome may be what kills them: memory, say.
                text = f"the clone has taken {MOST_LOSSES} workers with it: {result.reason}"
                ended[number] = CloneResult((), None, Failure(text, text))
        self._submit()
        return ended

    def _submit(self) -> None:
        while self._waiting and self._workers.free:
            number = self._waiting.pop(0)
            self._workers.submit(number, self._tasks[number], self._shared)

    def _is_repeated(self, number: int, lost: WorkerLost) -> bool:
        """Return whether a clone whose worker died is trained again, and log it."""
        if lost.may_be_clones_fault:
            self._losses[number] += 1
        is_repeated = self._losses[number] < MOST_LOSSES
        outcome = "it is trained again" if is_repeated else "it has failed"
        task = self._tasks[number]
        clone = f"Clone {task.clone} of cycle {task.cycle}"
        log_warning(f"{clone} has lost its worker, {outcome}: {lost.reason}")
        return is_repeated


class Workers:
    """The workers of a run: started when they are needed, ended however the run ends.

    Args:
        executor: Starts them; None: clones train in this process.
        make_job: Returns what they are for.
    """

    def __init__(
        self,
        executor: Executor | None,
        make_job: Callable[[], Job],
    ) -> None:
        self._executor = executor
        self._make_job = make_job
        self._pool: WorkerPool | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the workers, if they were started."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def start(self) -> WorkerPool | None:
        """Return the workers, started now if they are not yet.

        Raises:
            ArgumentError: There is no place for them, or the network cannot be sent.
        """
        if self._pool is None and self._executor is not None:
            self._pool = self._executor.start(self._make_job())
        return self._pool


def expected_seconds(records: Iterable[TrainingRecord]) -> Callable[[Task], float]:
    """Return what estimates the seconds of a training; without a measurement, by its steps.

    Args:
        records: The run's trainings so far.
    """
    fastest = _fastest_epochs(records)

    def expected(task: Task) -> float:
        return task.epochs * _epoch_seconds(fastest, _speed(task))

    return expected


def _epoch_seconds(fastest: Mapping[Speed, float], speed: Speed) -> float:
    """Return the seconds of an epoch: as measured, else those of the nearest kind, scaled."""
    batch_size, _ = speed
    if not fastest:
        return 1 / batch_size
    nearest = min(fastest, key=lambda other: _distance(other, speed))
    nearest_batch_size, _ = nearest
    return fastest[nearest] * nearest_batch_size / batch_size


def _distance(other: Speed, speed: Speed) -> tuple[float, bool]:
    ratio = other[0] / speed[0]
    is_another_optimizer = other[1] != speed[1]
    return max(ratio, 1 / ratio), is_another_optimizer


def _fastest_epochs(records: Iterable[TrainingRecord]) -> dict[Speed, float]:
    """Return the seconds of the fastest epoch of each kind."""
    fastest: dict[Speed, float] = {}
    for record in records:
        speed = _speed(record)
        # The first epochs of a kind contain a compilation.
        for epoch in record.epochs:
            seconds = fastest.get(speed, epoch.seconds)
            fastest[speed] = min(seconds, epoch.seconds)
    return fastest


def _speed(training: Task | TrainingRecord) -> Speed:
    return training.genome.batch_size, training.genome.optimizer
