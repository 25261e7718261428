"""Ray's actors as workers: who is starting, free or at work, and who is gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.errors import ArgumentError, MihaError, first_line
from miha.executors.protocol import CloneResult, Job, WorkerLost
from miha.executors.worker import Worker, differences
from miha.records import Genome, Snapshot, Task
from miha.storage.text_log import log_warning, say

MOST_FAILED_STARTS = 3
"""WorkerPool in a row that may be gone before they are ready."""


LONGEST_PING = 30.0
"""Seconds that a worker with nothing to do may take to answer."""


@dataclass(frozen=True)
class Assignment:
    """A clone that a worker is at.

    Attributes:
        actor: The worker.
        number: The clone.
        began: When, on this process's monotonic clock.
    """

    actor: Any
    number: int
    began: float


class Actors:
    """WorkerPool that are actors of Ray; see `WorkerPool`.

    One that is gone is replaced: Ray starts the new one as soon as a machine has place for it.

    Args:
        ray: The package.
        job: The job, put into the object store.
        job_here: The job itself.
        number: How many workers.
        options: What Ray is told of each.
        is_own: Whether this Ray was started for the run, and ends with it.
    """

    def __init__(
        self,
        ray: Any,
        job: Any,
        job_here: Job,
        number: int,
        options: dict[str, Any],
        is_own: bool,
    ) -> None:
        self._ray = ray
        self._job = job
        self._job_here = job_here
        self._number = number
        self._make = ray.remote(Worker).options(**options).remote
        self._is_own = is_own
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, Assignment] = {}
        self._failed_starts = 0
        self._start_timeout = self._timeout = float("inf")
        self._last_seen = time.monotonic()

    def start(self, start_timeout: float, timeout: float | None) -> None:
        """Start the workers; return when one is ready."""
        self._start_timeout = start_timeout
        self._timeout = float("inf") if timeout is None else timeout
        self._last_seen = time.monotonic()
        for _ in range(self._number):
            self._start_one()
        while not self._idle:
            self.results()

    @property
    def free(self) -> int:
        """See `WorkerPool`."""
        return len(self._idle)

    def share(self, parent: Genome, values: Snapshot) -> Any:
        """See `WorkerPool`."""
        self._last_seen = time.monotonic()
        self._replace_dead()
        return self._ray.put((parent, values))

    def submit(self, number: int, task: Task, shared: Any) -> None:
        """See `WorkerPool`."""
        actor = self._idle.pop()
        reference = actor.train.remote(task, shared)
        self._busy[reference] = Assignment(actor, number, time.monotonic())

    def results(self) -> Sequence[tuple[int, CloneResult | WorkerLost]]:
        """See `WorkerPool`."""
        references = [*self._busy, *self._starting]
        ready, _ = self._ray.wait(references, num_returns=1, timeout=self._patience())
        if not ready:
            return self._overdue()
        self._last_seen = time.monotonic()
        if ready[0] in self._starting:
            self._accept(ready[0])
            return []
        return [self._result(ready[0])]

    def close(self) -> None:
        """See `WorkerPool`."""
        at_work = (a.actor for a in self._busy.values())
        for actor in [*at_work, *self._idle, *self._starting.values()]:
            self._end(actor)
        self._busy, self._idle, self._starting = {}, [], {}
        if self._is_own:
            self._ray.shutdown()

    def _replace_dead(self) -> None:
        """Replace workers that are gone since their last clone: no clone is to blame for that."""
        pings = {actor.ping.remote(): actor for actor in self._idle}
        self._idle = []
        if pings:
            self._ray.wait([*pings], num_returns=len(pings), timeout=LONGEST_PING)
        for reference, actor in pings.items():
            try:
                self._ray.get(reference, timeout=0)
                self._idle.append(actor)
            except self._ray.exceptions.RayError:
                say("A worker was gone, or did not answer, while it had nothing to do.")
                self._replace(actor)

    def _start_one(self) -> None:
        actor = self._make(self._job)
        self._starting[actor.describe.remote()] = actor

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def _accept(self, reference: Any) -> None:
        """Take a worker on, if it has built the same network."""
        actor = self._starting.pop(reference)
        try:
            signature, device = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._replace_unready(error)
            return
        if others := differences(signature, self._job_here.signature):
            raise ArgumentError(
                "A worker must build the same network and have the same data as this process. "
                f"Received: others, by {others}. Let `load_data` return what MIHA was given, and "
                "let each class of yours return all arguments of its constructor by `get_config`."
            )
        if device != self._job_here.device:
            log_warning(
                f"Clones train on {device}, and the network itself on {self._job_here.device}."
            )
        self._failed_starts = 0
        self._idle.append(actor)

    def _replace_unready(self, error: Exception) -> None:
        """Start another worker for one that is gone before it was ready."""
        if getattr(error, "actor_init_failed", False) or _is_of_task(self._ray, error):
            raise ArgumentError(
                "A worker must be able to build the network. "
                f"Received, from the first one that tried: {_last_line(error)} Install what the "
                "network needs on every machine; where the data cannot be sent, give `load_data`."
            ) from error
        self._failed_starts += 1
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise MihaError(
                f"A worker must live until it is ready. Received: {MOST_FAILED_STARTS} in a row "
                f"that did not: {first_line(error)} Is there enough memory for each?"
            ) from error
        say(f"A worker was gone before it was ready: {first_line(error)}")
        self._start_one()

    def _result(self, reference: Any) -> tuple[int, CloneResult | WorkerLost]:
        """Return what has become of a clone; its worker is free, or replaced."""
        assignment = self._busy.pop(reference)
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if _is_of_task(self._ray, error):
                raise MihaError(f"A worker could not answer: {_last_line(error)}") from error
            self._replace(assignment.actor)
            return assignment.number, WorkerLost(
                _reason(error), not _is_of_machine(self._ray, error)
            )
        self._idle.append(assignment.actor)
        return assignment.number, _copied(outcome)

    def _replace(self, actor: Any) -> None:
        self._end(actor)
        self._start_one()

    def _patience(self) -> float | None:
        """Return for how many seconds to wait at most, None: for any time."""
        began = [assignment.began for assignment in self._busy.values()]
        end = min(began) + self._timeout if began else self._last_seen + self._start_timeout
        return None if end == float("inf") else max(end - time.monotonic(), 0)

    def _overdue(self) -> list[tuple[int, CloneResult | WorkerLost]]:
        """Replace hung workers, and return their clones."""
        if not self._busy:
            raise MihaError(
                f"A worker must be ready within `start_timeout`, {self._start_timeout:g} s. "
                "Received: none. Is there place in the cluster? The run can go on later."
            )
        now, lost = time.monotonic(), list[tuple[int, CloneResult | WorkerLost]]()
        for reference, assignment in list(self._busy.items()):
            if now - assignment.began >= self._timeout:
                del self._busy[reference]
                self._replace(assignment.actor)
                why = f"it took longer than timeout={self._timeout:g} seconds."
                lost.append((assignment.number, WorkerLost(why)))
        return lost


def _copied(outcome: CloneResult) -> CloneResult:
    """Copy an outcome's values out of the object store, whose arrays are read-only and shared."""
    if outcome.snapshot is None:
        return outcome
    held = outcome.snapshot
    variables, slots = (tuple(map(np.array, part)) for part in (held.variables, held.slots))
    return CloneResult(outcome.epochs, Snapshot(variables, held.optimizer, slots), outcome.failure)


def _is_of_task(ray: Any, error: Exception) -> bool:
    """Tell whether the worker lives, and has raised an error."""
    return isinstance(error, ray.exceptions.RayTaskError)


def _is_of_machine(ray: Any, error: Exception) -> bool:
    """Tell whether a machine is gone, or out of reach, and not a worker alone."""
    kinds = (ray.exceptions.ObjectLostError, ray.exceptions.ActorUnavailableError)
    text = str(error)
    return isinstance(error, kinds) or "node has died" in text or "node was" in text


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join([lines[0], lines[-1]] if len(lines) > 1 else lines or [repr(error)])[:500]


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
