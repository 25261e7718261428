"""A background writer: archives and journal lines reach the disk while the network trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType


class Writer:
    """Runs jobs in the order they were given, in a thread of its own.

    An error of a job is raised at the next `submit`, or at the end; later jobs are dropped, so
    that the journal never tells of something that was not written before.

    Args:
        ahead: Jobs that may wait, each with a snapshot in memory, before `submit` blocks.
    """

    def __init__(self, ahead: int = 2) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(ahead)
        self._error: BaseException | None = None
        self._failed = False
        self._thread = threading.Thread(target=self._work, name="miha-writer", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        if error is None:
            self._raise_error()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done soon.

        Raises:
            Exception: What an earlier job raised.
        """
        self._raise_error()
        self._jobs.put(job)

    def _stop(self) -> None:
        """Wait for what is to be done; a further Ctrl-C drops all but the job at hand.

        When this returns, nothing is written any more: another process may take over.
        """
        impatience: BaseException | None = None
        while True:
            try:
                while self._thread.is_alive():
                    self._jobs.put(None)
                    self._thread.join()
                break
            except BaseException as error:
                self._failed, impatience = True, error
        if impatience is not None:
            raise impatience

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._failed:
                try:
                    job()
                except BaseException as error:
                    self._error, self._failed = error, True

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
