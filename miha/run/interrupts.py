"""Ctrl-C and SIGTERM: the run ends in order, and says that it can go on."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from miha.storage.text_log import log_warning


@contextlib.contextmanager
def resumable(
    progress: Callable[[], str],
) -> Iterator[None]:
    """Say in one line how a run that is stopped from outside goes on.

    SIGTERM ends the process in order meanwhile, with the exit status that a shell expects,
    unless the application handles it itself.

    Args:
        progress: Says how far the run has come.
    """
    try:
        with _terminating():
            yield
    except (KeyboardInterrupt, SystemExit) as error:
        text = f"Stopped. {progress()} Run the same script again with these `logs` to go on."
        log_warning(text)
        if isinstance(error, KeyboardInterrupt):
            error.args = error.args or (text,)  # The last line of the traceback says it, too.
        raise


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
