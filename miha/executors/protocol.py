"""What an executor must do. `tests/support/executor_contract.py` has the tests for every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from miha.records import Epoch, Genome, Network, Snapshot, Task, TrainingRecord
from miha.trainer.protocol import Trainer, XlaScope


class PopulationExecutor(Protocol):
    """Trains the populations of a run: one clone after another, together, or on workers."""

    def train(
        self,
        tasks: Sequence[Task],
        done: int,
        parent: TrainingRecord,
        values: Snapshot,
    ) -> Iterator[Network]:
        """Train the clones of a cycle, each from its parent's values.

        What a clone becomes may depend on ``tasks``, but not on ``done``: a run that goes on
        equals one never interrupted.

        Args:
            tasks: All clones to train.
            done: How many of them, from the first on, are trained and recorded already.
            parent: The network to go on from.
            values: The parent's.

        Yields:
            The clones that are not recorded yet, in their order. The values of one are freed
            before the next one comes.
        """


@dataclass(frozen=True)
class Job:
    """All that a worker in another process needs to train the clones of a run.

    Attributes:
        make_trainer: Builds the live network; it can be sent.
        seed: The run's.
        xla: Which trainings XLA compiles as a whole; None: none.
        pop_size: Clones in a cycle: more workers would have nothing to do.
        environment: Variables of the environment that the worker's process needs.
        signature: What the trainer must be: that of the run's own.
        device: Where the run's own network is trained, in words.
    """

    make_trainer: Callable[[], Trainer]
    seed: int
    xla: XlaScope | None
    pop_size: int
    environment: Mapping[str, str]
    signature: Mapping[str, Any]
    device: str


@dataclass(frozen=True)
class Failure:
    """Why the training of a clone failed.

    Attributes:
        text: In a sentence, the kind of error first.
        traceback: The whole traceback.
        ends_run: Whether it is no failure of the clone's own.
    """

    text: str
    traceback: str
    ends_run: bool = False


@dataclass(frozen=True)
class CloneResult:
    """What a worker returns of a clone.

    Attributes:
        epochs: What it has trained.
        snapshot: The values after it; None where it failed.
        failure: Why it failed, if it did.
    """

    epochs: tuple[Epoch, ...]
    snapshot: Snapshot | None
    failure: Failure | None = None


@dataclass(frozen=True)
class WorkerLost:
    """What is returned of a clone whose worker died.

    Attributes:
        reason: A sentence.
        may_be_clones_fault: Whether the clone may have been the cause; the loss of a machine is
            not its fault.
    """

    reason: str
    may_be_clones_fault: bool = True


class WorkerPool(Protocol):
    """Workers in other processes, each of which trains one clone at a time."""

    @property
    def free(self) -> int:
        """How many workers could take a clone now."""

    def share(self, parent: Genome, values: Snapshot) -> Any:
        """Send what the clones of a cycle begin with, once for all of them.

        Returns:
            What `submit` takes; the values are freed with it.
        """

    def submit(self, number: int, task: Task, shared: Any) -> None:
        """Let a free worker train a clone.

        Args:
            number: What `results` will call it.
            task: What to train.
            shared: What `share` has returned for its cycle.
        """

    def results(self) -> Sequence[tuple[int, CloneResult | WorkerLost]]:
        """Wait until something has happened; return the clones that have ended.

        There may be none: a worker has become free, say.

        Raises:
            MihaError: There are no workers, and will be none.
        """

    def close(self) -> None:
        """End the workers, busy or not."""


class Executor(Protocol):
    """Where clones train, as `miha.Execution(executor=...)` takes it."""

    @property
    def load_data(self) -> Callable[[], Mapping[str, Any]] | None:
        """What each worker loads the data by; None: it is sent."""

    def check(self) -> None:
        """Raise unless it can be used; nothing is started.

        Raises:
            ArgumentError: An argument of it breaks a rule.
            MissingPackageError: It needs a package that is not installed.
        """

    def start(self, job: Job) -> WorkerPool:
        """Start the workers, and return when one at least has shown that it is ready.

        Raises:
            ArgumentError: There is no place for them, or the network cannot be sent.
        """
