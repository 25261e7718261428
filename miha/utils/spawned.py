"""Processes that this package starts, and that import the user's script."""

from __future__ import annotations

from multiprocessing import current_process

from miha.errors import ArgumentError

GUARD = (
    'A script that starts processes must do so below `if __name__ == "__main__":`, since each of '
    "them imports the script."
)


def refuse_unguarded() -> None:
    """Refuse to start processes in one that only imports the script of another one.

    Raises:
        ArgumentError: It is one: the call has no guard.
    """
    # The attribute by which `multiprocessing` itself recognizes such a process.
    if getattr(current_process(), "_inheriting", False):
        raise ArgumentError(f"{GUARD} Received: a call from such a process. Add that line.")
