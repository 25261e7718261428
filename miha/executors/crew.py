"""The workers of a run: started when they are needed, ended however the run ends."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from miha.executors.protocol import Executor, Job, Workers


class Crew:
    """Holds the workers of a run.

    Args:
        executor: Starts them; None: the run does without.
        make_job: Returns what they are for.
    """

    def __init__(self, executor: Executor | None, make_job: Callable[[], Job]) -> None:
        self._executor = executor
        self._make_job = make_job
        self._workers: Workers | None = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def begin(self) -> Workers | None:
        """Return the workers, started now if they are not yet.

        Raises:
            ArgumentError: There is no place for them, or the network cannot be sent.
        """
        if self._workers is None and self._executor is not None:
            self._workers = self._executor.start(self._make_job())
        return self._workers
