"""Ctrl-C and SIGTERM: the run ends in order, and says that it can go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from miha.storage.text_log import log_warning
from miha.utils.signals import stopping_in_order


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
        with stopping_in_order():
            yield
    except (KeyboardInterrupt, SystemExit) as error:
        text = f"Stopped. {progress()} Run the same script again with these `logs` to go on."
        log_warning(text)
        if isinstance(error, KeyboardInterrupt):
            error.args = error.args or (text,)  # The last line of the traceback says it, too.
        raise
