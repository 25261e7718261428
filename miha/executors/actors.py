"""Ray's actors as workers: which are starting, free or busy, and which are lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from miha.errors import ArgumentError, MihaError, first_line
from miha.executors.protocol import CloneResult, Job, WorkerLost
from miha.executors.worker import Worker, check_ready, copied
from miha.records import Genome, Snapshot, Task
from miha.storage.text_log import say

MOST_FAILED_STARTS = 3
"""Workers in a row that may die before they are ready."""

LONGEST_PING = 30.0
"""Seconds that a free worker may take to answer."""

LONGEST_REASON = 500
"""Characters of an error that a sentence quotes."""


@dataclass(frozen=True)
class Assignment:
    """A clone that a worker trains.

    Attributes:
        actor: The worker.
        number: The clone.
        began: When, on this process's monotonic clock.
    """

    actor: Any
    number: int
    began: float


class RayWorkers:
    """A `WorkerPool` of Ray's actors.

    A worker that dies is replaced: Ray starts the new one as soon as a machine has place for it.

    Args:
        ray: The package.
        job: What the workers are for.
        sent: The job in Ray's object store.
        options: Ray's options of each actor.
        is_started_here: Whether this Ray was started for the run, and ends with it.
    """

    def __init__(
        self,
        ray: Any,
        job: Job,
        sent: Any,
        options: dict[str, Any],
        is_started_here: bool,
    ) -> None:
        self._ray = ray
        self._job = job
        self._sent = sent
        self._make = ray.remote(Worker).options(**options).remote
        self._is_started_here = is_started_here
        self._starting: dict[Any, Any] = {}
        self._free: list[Any] = []
        self._busy: dict[Any, Assignment] = {}
        self._failed_starts = 0
        self._start_timeout = inf
        self._timeout = inf
        self._last_seen = time.monotonic()

    def start(
        self,
        number: int,
        start_timeout: float,
        timeout: float | None,
    ) -> None:
        """Start so many workers; return when one is ready."""
        self._start_timeout = start_timeout
        self._timeout = inf if timeout is None else timeout
        self._last_seen = time.monotonic()
        for _ in range(number):
            self._start_worker()
        while not self._free:
            self.results()

    @property
    def free(self) -> int:
        """See `WorkerPool`."""
        return len(self._free)

    def share(self, parent: Genome, values: Snapshot) -> Any:
        """See `WorkerPool`."""
        self._last_seen = time.monotonic()
        self._replace_dead()
        return self._ray.put((parent, values))

    def submit(self, number: int, task: Task, shared: Any) -> None:
        """See `WorkerPool`."""
        actor = self._free.pop()
        reference = actor.train.remote(task, shared)
        self._busy[reference] = Assignment(actor, number, time.monotonic())

    def results(self) -> Sequence[tuple[int, CloneResult | WorkerLost]]:
        """See `WorkerPool`."""
        references = [*self._busy, *self._starting]
        seconds = self._seconds_to_wait()
        # Ray returns one reference as soon as there is one: a result, or a worker that is ready.
        ready, _ = self._ray.wait(references, timeout=seconds)
        if not ready:
            return self._overdue()

        self._last_seen = time.monotonic()
        reference = ready[0]
        if reference in self._starting:
            self._accept(reference)
            return []
        return [self._result(reference)]

    def close(self) -> None:
        """See `WorkerPool`."""
        actors = [assignment.actor for assignment in self._busy.values()]
        actors += self._free
        actors += self._starting.values()
        for actor in actors:
            self._end(actor)
        self._busy.clear()
        self._free.clear()
        self._starting.clear()
        if self._is_started_here:
            self._ray.shutdown()

    def _start_worker(self) -> None:
        actor = self._make(self._sent)
        self._starting[actor.describe.remote()] = actor

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def _replace(self, actor: Any) -> None:
        self._end(actor)
        self._start_worker()

    def _replace_dead(self) -> None:
        """Replace workers that died after their last clone: no clone is to blame for that."""
        pings = {actor.ping.remote(): actor for actor in self._free}
        self._free = []
        if pings:
            references = list(pings)
            self._ray.wait(references, num_returns=len(references), timeout=LONGEST_PING)
        for reference, actor in pings.items():
            try:
                self._ray.get(reference, timeout=0)
                self._free.append(actor)
            except self._ray.exceptions.RayError:
                say("A worker was gone, or did not answer, while it had nothing to do.")
                self._replace(actor)

    def _accept(self, reference: Any) -> None:
        """Add a worker to the free ones, if it has built the same network.

        Raises:
            ArgumentError: It has built another one, or none.
            MihaError: Too many have died before they were ready.
        """
        actor = self._starting.pop(reference)
        try:
            signature, device = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._replace_unready(error)
            return

        check_ready(self._job, signature, device)
        # Only starts that fail in a row mean that none can succeed.
        self._failed_starts = 0
        self._free.append(actor)

    def _replace_unready(self, error: Exception) -> None:
        """Start another worker for one that died before it was ready."""
        has_raised = getattr(error, "actor_init_failed", False) or self._is_of_task(error)
        if has_raised:
            raise ArgumentError(
                "A worker must be able to build the network. "
                f"Received, from the first one that tried: {_lines(error)[-1]} Install what the "
                "network needs on every machine; where the data cannot be sent, give `load_data`."
            ) from error
        self._failed_starts += 1
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise MihaError(
                f"A worker must live until it is ready. Received: {MOST_FAILED_STARTS} in a row "
                f"that did not: {first_line(error)} Is there enough memory for each?"
            ) from error
        say(f"A worker was gone before it was ready: {first_line(error)}")
        self._start_worker()

    def _result(self, reference: Any) -> tuple[int, CloneResult | WorkerLost]:
        """Return the result of a clone; its worker is free, or replaced."""
        assignment = self._busy.pop(reference)
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if self._is_of_task(error):
                raise MihaError(f"A worker could not answer: {_lines(error)[-1]}") from error
            self._replace(assignment.actor)
            lost = WorkerLost(_reason(error), not self._is_of_machine(error))
            return assignment.number, lost
        self._free.append(assignment.actor)
        if result.snapshot is not None:
            # Arrays of the object store are read-only and shared.
            result = replace(result, snapshot=copied(result.snapshot))
        return assignment.number, result

    def _seconds_to_wait(self) -> float | None:
        """Return how many seconds to wait at most; None: for any time."""
        began = [assignment.began for assignment in self._busy.values()]
        if began:
            end = min(began) + self._timeout
        else:
            end = self._last_seen + self._start_timeout
        return None if end == inf else max(end - time.monotonic(), 0)

    def _overdue(self) -> list[tuple[int, CloneResult | WorkerLost]]:
        """Replace workers that hang; return their clones."""
        if not self._busy:
            raise MihaError(
                f"A worker must be ready within `start_timeout`, {self._start_timeout:g} s. "
                "Received: none. Is there place in the cluster? The run can go on later."
            )
        lost = WorkerLost(f"it took longer than timeout={self._timeout:g} seconds.")
        results: list[tuple[int, CloneResult | WorkerLost]] = []
        now = time.monotonic()
        for reference, assignment in list(self._busy.items()):
            if now - assignment.began >= self._timeout:
                del self._busy[reference]
                self._replace(assignment.actor)
                results.append((assignment.number, lost))
        return results

    def _is_of_task(self, error: Exception) -> bool:
        """Return whether the worker lives, and has raised an error."""
        return isinstance(error, self._ray.exceptions.RayTaskError)

    def _is_of_machine(self, error: Exception) -> bool:
        """Return whether a machine is lost or out of reach, and not a worker alone."""
        exceptions = self._ray.exceptions
        kinds = (exceptions.ObjectLostError, exceptions.ActorUnavailableError)
        if isinstance(error, kinds):
            return True
        # Ray has no class for an actor that died with its machine.
        text = str(error)
        return "node has died" in text or "node was" in text


def _lines(error: Exception) -> list[str]:
    """Return the lines of an error's message that are not empty, at least one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return [line for line in lines if line] or [repr(error)]


def _reason(error: Exception) -> str:
    """Return the first and the last line of an error: the kind, and what it says."""
    lines = _lines(error)
    text = lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
    return text[:LONGEST_REASON]
