"""What can go wrong: the run must stop, or it must not start."""


class MihaError(Exception):
    """Base of every error that MIHA raises itself."""


class ArgumentError(MihaError, ValueError):
    """An argument, the data or the network breaks a rule; nothing was trained or written."""


class RunExistsError(MihaError, FileExistsError):
    """The folder of the run holds something already; nothing in it was touched."""


class ArchiveError(MihaError):
    """A network archive cannot be read."""


class TrainerError(MihaError):
    """A trainer did not do what it was told: a genome was not expressed, say."""


class MihaWarning(UserWarning):
    """Something the user asked for is left out or went another way."""
