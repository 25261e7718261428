"""A background writer: archives and journal lines reach the disk while the network trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType


class Writer:
    """Run jobs in the order in which they are given, in one thread.

    The next `submit`, or the end, raises the error of a job. Later jobs are dropped: the journal
    must not name what was not written before.

    Args:
        ahead: Jobs that may wait, each with a snapshot in memory, before `submit` blocks.
    """

    def __init__(self, ahead: int = 2) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(ahead)
        self._error: BaseException | None = None
        self._should_drop = False
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

    def submit(
        self,
        job: Callable[[], None],
    ) -> None:
        """Queue a job.

        Raises:
            Exception: What an earlier job raised.
        """
        self._raise_error()
        self._jobs.put(job)

    def _stop(self) -> None:
        """Wait for the jobs; a further Ctrl-C drops all but the one at work."""
        interrupt: BaseException | None = None
        # Not before the thread has ended may another process write into the folder.
        while True:
            try:
                while self._thread.is_alive():
                    self._jobs.put(None)
                    self._thread.join()
                break
            except BaseException as error:
                self._should_drop = True
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._should_drop:
                continue
            try:
                job()
            except BaseException as error:
                self._error = error
                self._should_drop = True

    def _raise_error(self) -> None:
        error = self._error
        self._error = None
        if error is not None:
            raise error
