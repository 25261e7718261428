"""What makes a run this run and no other."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from miha.errors import RunExistsError
from miha.options import Budget, Search
from miha.search.plan import Plan
from miha.storage.folder import FORMAT, START, RunFolder
from miha.trainer.protocol import Trainer
from miha.utils.code_digest import digest, is_user_code
from miha.utils.json_values import plain
from miha.utils.warn import warn

IDENTITY = ("fingerprint", "arguments", "choices", "seed", "genome", "code")
CIRCUMSTANCES = ("versions", "device")

FINGERPRINT = {
    "data": "the data differ, in values, types or order",
    "layers": "the network has other layers",
    "compiled": "the network is compiled otherwise",
    "weights": "the weights differ",
}
"""What it means that a checksum is another, which says nothing to anybody."""

Differences = dict[str, str]
"""What differs between two descriptions, in words, by name."""

MOST_DIFFERENCES = 5
"""Differences that a message names."""

LONGEST_VALUE = 60
"""Characters of a value that a message quotes."""


def describe_run(
    plan: Plan,
    trainer: Trainer,
) -> dict[str, Any]:
    """Return what `run.json` says of a run: arguments, seed, versions, device, fingerprint."""
    # Byte code stands apart: it is compared between equal versions of Python only.
    fingerprint = dict(trainer.fingerprint)
    code = _code(plan) | {"network": fingerprint.pop("code", None)}
    versions = {"python": platform.python_version()}
    for package in ("miha", "keras", trainer.backend, "numpy"):
        versions[package] = version(package)
    return {
        "format": FORMAT,
        "arguments": {
            "schedule": asdict(plan.schedule),
            "mutations": [mutation.describe() for mutation in plan.mutations],
            "fitness": _name(plan.fitness),
            "monitor": plan.monitor,
            "mode": plan.mode,
            "judge": asdict(plan.judge_of_best),
            "search": asdict(plan.search),
            "budget": asdict(plan.budget),
            "space": asdict(trainer.space),
            "data": trainer.settings,
            "logged": list(trainer.metrics),
        },
        "code": code,
        "epochs": plan.schedule.epochs,
        "seed": plan.seed,
        "genome": trainer.genome.to_dict(),
        "versions": versions,
        "device": trainer.device,
        "fingerprint": fingerprint,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def check_same(
    folder: RunFolder,
    description: Mapping[str, Any],
) -> None:
    """Raise unless the run in a folder is the one described.

    Raises:
        RunExistsError: It is not; the message names what differs.
        JournalError: It cannot be read.
    """
    found = folder.description()
    wanted = _as_read(description)
    if found["format"] < FORMAT:
        raise RunExistsError(
            "A run goes on with the version of MIHA that it was begun with. Received: "
            f"logs={str(folder.path)!r}, of an earlier version. `miha.load_run` reads it. Choose "
            "another folder, or replace that run with overwrite=True."
        )
    names = list(IDENTITY)
    # The same code has another byte code in another version of Python.
    if _python(found) != _python(wanted):
        names.remove("code")
    # A run that was begun before there was an option had its default.
    searched = found["arguments"].get("search", {})
    found["arguments"]["search"] = {**_as_read(asdict(Search())), **searched}
    # More cycles, or a larger budget, are no other run, but more of the same.
    if _cycles(wanted) > _cycles(found):
        found["arguments"]["schedule"]["c"] = _cycles(wanted)
    if _has_larger_budget(wanted, found):
        found["arguments"]["budget"] = wanted["arguments"]["budget"]
    differences = _differences(found, wanted, names)
    # Other layers have other weights.
    if "fingerprint.layers" in differences:
        differences.pop("fingerprint.weights", None)
    if differences:
        named = _first_of_each(differences)[:MOST_DIFFERENCES]
        raise RunExistsError(
            "A run goes on with the arguments, data and network that it was begun with. "
            f"Received: logs={str(folder.path)!r}, where {'; '.join(named)}. "
            f"{_advice(folder, differences)}Choose another folder, or replace that run with "
            "overwrite=True."
        )


def warn_of_circumstances(
    folder: RunFolder,
    description: Mapping[str, Any],
) -> None:
    """Warn where the run in a folder was begun with other versions or on another device."""
    found = folder.description()
    differences = _differences(found, _as_read(description), CIRCUMSTANCES)
    if differences:
        named = "; ".join(list(differences.values())[:MOST_DIFFERENCES])
        warn(
            f"The run was begun elsewhere: {named}. It goes on, but its numbers "
            "may differ in the last digits from those of a run that was never interrupted."
        )


def _cycles(description: Mapping[str, Any]) -> int:
    """Return how many cycles a run shall have."""
    arguments = description.get("arguments", {})
    return int(arguments.get("schedule", {}).get("c", 0))


def _has_larger_budget(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether a run is given a budget of which no limit is tighter, and one is not."""
    before = found.get("arguments", {})
    now = wanted.get("arguments", {})
    # Version 0.3.0 had its limits beside the other arguments.
    if "budget" not in before or before["budget"] == now["budget"]:
        return False
    earlier = Budget(**before["budget"])
    return Budget(**now["budget"]).is_at_least(earlier, now["mode"])


def _as_read(description: Mapping[str, Any]) -> Any:
    """Return a description as it would be read from `run.json`."""
    return json.loads(json.dumps(plain(description)))


def _python(description: Mapping[str, Any]) -> str:
    """Return major and minor version of Python."""
    text: str = description["versions"]["python"]
    return text.rpartition(".")[0]


def _advice(folder: RunFolder, differences: Differences) -> str:
    """Return what a user may do about differences that they did not make."""
    text = ""
    if "fingerprint.weights" in differences:
        text += (
            "Weights that are drawn at random are other ones in each process: call "
            "keras.utils.set_random_seed before the network is built; that run's first network is "
            f"in {str(folder.path / START)!r} (miha.load), and with it the run goes on. "
        )
    if "arguments.schedule.c" in differences:
        text += (
            "`c` and `epochs` may be raised, and the run then goes on after its end; they cannot "
            "be lowered. "
        )
    if any(name.startswith("arguments.budget.") for name in differences):
        text += (
            "A `Budget` may be made larger, and the run then goes on where it had ended; none of "
            "its limits can be made tighter. "
        )
    if "arguments.logged" in differences:
        text += (
            "Keras counts names on in each process: call keras.utils.clear_session() before "
            "the network is built again, or give metrics a name. "
        )
    return text


def _name(fitness: Callable[..., Any]) -> Any:
    """Return what a user calls a fitness; what it does is told by its code."""
    if not is_user_code(fitness):
        # One of MIHA's own is described whole, with its settings.
        return plain(fitness)
    return getattr(fitness, "__qualname__", type(fitness).__qualname__)


def _code(plan: Plan) -> dict[str, Any]:
    """Return checksums of what fitness and mutations do, as far as they are the user's own."""
    checksums = {"fitness": digest(plan.fitness)}
    for number, mutation in enumerate(plan.mutations):
        checksums[f"mutations.{number}"] = digest(type(mutation))
    return checksums


def _differences(
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    names: Iterable[str],
) -> Differences:
    """Return what differs between some parts of two descriptions."""
    differences: Differences = {}
    for name in names:
        differences |= _compare(found.get(name), wanted.get(name), name)
    return differences


def _compare(
    found: Any,
    wanted: Any,
    name: str,
) -> Differences:
    """Return what differs between two structures."""
    differences: Differences = {}
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            differences |= _compare(found.get(key), wanted.get(key), f"{name}.{key}")
    elif found != wanted:
        differences[name] = _in_words(name, found, wanted)
    return differences


def _in_words(name: str, found: Any, wanted: Any) -> str:
    root, _, part = name.partition(".")
    if root == "code":
        # A checksum says nothing to anybody.
        return f"code.{part} is another: what that function or class does has changed"
    if root == "fingerprint":
        return FINGERPRINT.get(part, f"the {part} differs")
    return f"{name} is {_short(found)} and not {_short(wanted)}"


def _first_of_each(differences: Differences) -> list[str]:
    """Return the first difference of each argument: one list can differ in many places."""
    first: dict[tuple[str, ...], str] = {}
    for name, text in differences.items():
        argument = tuple(name.split(".")[:3])
        first.setdefault(argument, text)
    return list(first.values())


def _short(value: Any) -> str:
    text = repr(value)
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[: LONGEST_VALUE - 3]}..."
