"""What can go wrong: the run must stop, it must not start, or a clone has failed."""

import re


class MihaError(Exception):
    """Base of every error that MIHA raises itself."""


class ArgumentError(MihaError, ValueError):
    """An argument, the data or the network breaks a rule; nothing was trained or written."""


class RunExistsError(MihaError, FileExistsError):
    """The folder holds another run or something else; nothing in it was touched."""


class RunLockedError(RunExistsError):
    """Another process is at work in the run's folder."""


class JournalError(MihaError):
    """What a run's folder says of the run is damaged, or of a later version."""


class StorageError(MihaError, OSError):
    """The disk is full, or the run's folder cannot be written; the run can go on later."""


class ArchiveError(MihaError):
    """A network archive cannot be read."""


class TrainerError(MihaError):
    """A trainer did not do what it was told; where that was a clone, the clone loses."""


class MihaWarning(UserWarning):
    """Something the user asked for is left out or went another way."""


class RunStopped(MihaError):  # noqa: N818
    """A callback of the user's has asked for the end of the run; it can go on later."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that tells something, as a sentence."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Keras writes in bold.
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [repr(error)]
    is_heading = lines[0].startswith("Exception encountered when calling ")
    line = lines[1] if is_heading and len(lines) > 1 else lines[0]
    return line if line.endswith(".") else f"{line}."
