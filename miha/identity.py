"""What makes a run this run and no other: how a folder is begun, or found again."""

from __future__ import annotations

import datetime
import json
import platform
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from inspect import iscode, isfunction
from typing import Any

from miha.checks import check_integer
from miha.errors import JournalError, MihaWarning, RunExistsError
from miha.folder import FORMAT, START, RunFolder, plain
from miha.journal import Entry, Journal
from miha.logbook import Logbook
from miha.plan import Plan
from miha.randomness import draw_seed
from miha.trainer.protocol import Trainer

IDENTITY = ("arguments", "seed", "genome", "fingerprint")
CIRCUMSTANCES = ("versions", "device")


def describe_run(plan: Plan, trainer: Trainer) -> dict[str, Any]:
    """Return what `run.json` says of a run: arguments, seed, versions, device, fingerprint."""
    packages = ("miha", "keras", "tensorflow", "numpy")
    return {
        "format": FORMAT,
        "arguments": {
            "schedule": asdict(plan.schedule),
            "mutations": [mutation.describe() for mutation in plan.mutations],
            "fitness": _describe_callable(plan.fitness),
            "monitor": plan.monitor,
            "mode": plan.mode,
            "control": plan.control,
            "space": asdict(trainer.space),
            "data": trainer.settings,
        },
        "epochs": plan.schedule.epochs,
        "seed": plan.seed,
        "genome": trainer.genome.to_dict(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": trainer.device,
        "fingerprint": trainer.fingerprint,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def choose_seed(seed: int | None, folder: RunFolder, overwrite: bool) -> int:
    """Return the user's seed, else that of the run that goes on, else a new one.

    Args:
        seed: The user's.
        folder: Where a run may have been begun.
        overwrite: Whether that run may be replaced.

    Raises:
        ArgumentError: It is no seed.
        JournalError: The folder's run cannot be read.
    """
    if seed is not None:
        return check_integer("seed", seed, 0)
    try:
        return int(folder.description()["seed"]) if folder.has_run else draw_seed()
    except JournalError:
        if not overwrite:
            raise
        return draw_seed()


def open_run(
    folder: RunFolder,
    description: Mapping[str, Any],
    overwrite: bool,
    check_room: Callable[[RunFolder, int], None],
) -> tuple[Journal, Logbook]:
    """Begin a run in its folder, or find what has been done of it.

    Args:
        folder: Created and locked.
        description: The run's, as `describe_run` returns it.
        overwrite: Whether a run that is another one, or damaged, is replaced.
        check_room: Called before anything is written, with the number of finished trainings.

    Returns:
        The journal, ready to append, and what it holds.

    Raises:
        RunExistsError: The folder holds another run.
        JournalError: It holds a damaged run, or one of a later version.
        StorageError: It cannot be written.
    """
    journal = Journal(folder.path / "journal.jsonl")
    folder.sweep()
    past = _find(folder, journal, description, overwrite) if folder.has_run else None
    if past is None or not past.is_finished:
        check_room(folder, len(past.trainings) if past else 0)
    if past is None:
        folder.clear()
        folder.write_json("run.json", description)
        past = Logbook.of(journal.open())
    return journal, past


def check_same(folder: RunFolder, description: Mapping[str, Any]) -> None:
    """Raise unless the run in a folder is the one described.

    Raises:
        RunExistsError: It is not; the message names what differs.
        JournalError: It cannot be read.
    """
    found, wanted = folder.description(), json.loads(json.dumps(plain(description)))
    differences = list(_differences(_only(found, IDENTITY), _only(wanted, IDENTITY)))
    if differences:
        raise RunExistsError(
            "A run goes on with the arguments, data and network that it was begun with. "
            f"Received: logs={str(folder.path)!r}, where {'; '.join(differences[:5])}. "
            f"{_advice(folder, differences)}Choose another folder, or replace that run with "
            "overwrite=True."
        )
    others = list(_differences(_only(found, CIRCUMSTANCES), _only(wanted, CIRCUMSTANCES)))
    if others:
        warnings.warn(
            f"The run was begun elsewhere: {'; '.join(others[:5])}. It goes on, but its numbers "
            "may differ in the last digits from those of a run that was never interrupted.",
            MihaWarning,
            stacklevel=2,
        )


def _find(
    folder: RunFolder, journal: Journal, description: Mapping[str, Any], overwrite: bool
) -> Logbook | None:
    """Return what has been done of a run; None where the folder's run shall be replaced."""
    try:
        check_same(folder, description)
        return Logbook.of(_resumed(journal))
    except (RunExistsError, JournalError):
        if not overwrite:
            raise
        return None


def _resumed(journal: Journal) -> list[Entry]:
    """Return what stands of a journal; a run that has given up tries its last cycles again."""
    entries = journal.open()
    log = Logbook.of(entries)
    last = max(log.winners, default=0)
    if not log.has_given_up(last):
        return entries
    failed = range(last - 2, last + 1)
    return journal.cut(next(i for i, e in enumerate(entries) if e.get("cycle") in failed))


def _advice(folder: RunFolder, differences: list[str]) -> str:
    if any(text.startswith("fingerprint.weights") for text in differences):
        return (
            "Weights that are drawn at random are other ones in each process: call "
            "keras.utils.set_random_seed before the network is built; that run's first network is "
            f"in {str(folder.path / START)!r} (miha.load), and with it the run goes on. "
        )
    return ""


def _describe_callable(function: Callable[..., Any]) -> Any:
    """Return what tells a function from others, in every process alike."""
    if not isfunction(function):
        return plain(function)
    code = function.__code__
    values = [value for value in code.co_consts if not iscode(value)]
    body = code.co_code + repr(plain([values, code.co_names])).encode()
    return f"{function.__qualname__} ({zlib.crc32(body):08x})"


def _only(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values.get(name) for name in names}


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Yield in words what differs between two structures."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            at = f"{name}.{key}" if name else key
            yield from _differences(found.get(key), wanted.get(key), at)
    elif found != wanted:
        yield f"{name} is {_short(found)} and not {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
