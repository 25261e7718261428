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
    """A trainer did not do what it was asked to; where that was a clone, the clone loses."""


class MihaWarning(UserWarning):
    """Something the user asked for is left out or went another way."""


class RunStopped(MihaError):  # noqa: N818
    """A callback of the user's has asked for the end of the run; it can go on later."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that tells something, as a sentence.

    A sentence that goes on in the next line is one line.
    """
    # Keras writes in bold.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = re.sub(r"(?<=[^\s.:!?]) *\n(?=[a-z`(])", " ", text)
    # What has gone wrong stands at the end where Keras could not read a part.
    causes = re.findall(r"^(?:Exception|Error) encountered[a-z ]*: (.+)", text, re.MULTILINE)
    text = causes[-1] if causes else text
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line] or [repr(error)]

    line = lines[0]
    # Below this heading of Keras', the error itself follows.
    is_heading = line.startswith("Exception encountered when calling ")
    if is_heading and len(lines) > 1:
        line = lines[1]
    return line if line.endswith(".") else f"{line}."
