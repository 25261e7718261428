"""Signals that ask a run to stop: what they raise comes to its end, whatever is running then."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None
"""What Python calls at a signal, or the number of what the system does."""

_asked: list[BaseException] = []
"""What signals have raised. A process has one handler of each, and so one list."""


@contextlib.contextmanager
def stopping_in_order() -> Iterator[None]:
    """Raise what Ctrl-C and SIGTERM mean, unless the application handles them itself.

    A library in C++ may turn what a signal raises into an error of another kind. What the signal
    has raised is raised again then.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: SIGTERM came; with the exit status that a shell expects.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(_asked.clear)
        stack.enter_context(_handled(signal.SIGINT, signal.default_int_handler))
        stack.enter_context(_handled(signal.SIGTERM, signal.SIG_DFL))
        try:
            yield
        except Exception as error:
            if _asked:
                raise _asked[-1] from error
            raise


def raise_if_asked() -> None:
    """Raise what a signal has raised, where an error of another kind was made of it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: SIGTERM came.
    """
    if _asked:
        raise _asked[-1]


@contextlib.contextmanager
def _handled(number: signal.Signals, default: Handler) -> Iterator[None]:
    """Handle a signal for a while, where its handler is the default."""
    before = signal.getsignal(number)
    if before is not default:
        yield
        return
    signal.signal(number, partial(_raise, os.getpid(), default))
    try:
        yield
    finally:
        signal.signal(number, before)


def _raise(
    owner: int,
    default: Handler,
    number: int,
    frame: FrameType | None,
) -> None:
    """Raise what a signal means.

    Args:
        owner: The process that handles it. One that is forked from it, such as a worker of a pool,
            inherits this handler, and ends by the signal as it would without MIHA.
        default: What handles the signal there.
        number: The signal.
        frame: Where it came.
    """
    if os.getpid() != owner:
        signal.signal(number, default)
        signal.raise_signal(number)
        return
    is_ctrl_c = number == signal.SIGINT
    error = KeyboardInterrupt() if is_ctrl_c else SystemExit(128 + number)
    _asked.append(error)
    raise error
