"""What makes a run this run and no other."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from miha.errors import RunExistsError
from miha.search.plan import Plan
from miha.storage.folder import FORMAT, START, RunFolder
from miha.trainer.protocol import Trainer
from miha.utils.code_digest import digest, is_user_code
from miha.utils.json_values import plain
from miha.utils.warn import warn

IDENTITY = ("arguments", "choices", "seed", "genome", "fingerprint", "code")
CIRCUMSTANCES = ("versions", "device")


def describe_run(plan: Plan, trainer: Trainer) -> dict[str, Any]:
    """Return what `run.json` says of a run: arguments, seed, versions, device, fingerprint."""
    packages = ("miha", "keras", trainer.backend, "numpy")
    return {
        "format": FORMAT,
        "arguments": {
            "schedule": asdict(plan.schedule),
            "mutations": [mutation.describe() for mutation in plan.mutations],
            "fitness": _name(plan.fitness),
            "monitor": plan.monitor,
            "mode": plan.mode,
            "search": asdict(plan.search),
            "budget": asdict(plan.budget),
            "space": asdict(trainer.space),
            "data": trainer.settings,
            "logged": list(trainer.metrics),
        },
        "code": {**_code(plan), "network": trainer.fingerprint.get("code")},
        "epochs": plan.schedule.epochs,
        "seed": plan.seed,
        "genome": trainer.genome.to_dict(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": trainer.device,
        "fingerprint": {k: v for k, v in trainer.fingerprint.items() if k != "code"},
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def check_same(folder: RunFolder, description: Mapping[str, Any]) -> None:
    """Raise unless the run in a folder is the one described.

    Raises:
        RunExistsError: It is not; the message names what differs.
        JournalError: It cannot be read.
    """
    found, wanted = _both(folder, description)
    if found["format"] < FORMAT:
        raise RunExistsError(
            "A run goes on with the version of MIHA that it was begun with. Received: "
            f"logs={str(folder.path)!r}, of an earlier version. `miha.load_run` reads it. Choose "
            "another folder, or replace that run with overwrite=True."
        )
    names = [name for name in IDENTITY if name != "code" or _same_python(found, wanted)]
    differences = list(_differences(_only(found, names), _only(wanted, names)))
    if differences:
        raise RunExistsError(
            "A run goes on with the arguments, data and network that it was begun with. "
            f"Received: logs={str(folder.path)!r}, where {'; '.join(_one_each(differences)[:5])}. "
            f"{_advice(folder, differences)}Choose another folder, or replace that run with "
            "overwrite=True."
        )


def warn_of_circumstances(folder: RunFolder, description: Mapping[str, Any]) -> None:
    """Warn where the run in a folder was begun with other versions or on another device."""
    found, wanted = _both(folder, description)
    others = list(_differences(_only(found, CIRCUMSTANCES), _only(wanted, CIRCUMSTANCES)))
    if others:
        warn(
            f"The run was begun elsewhere: {'; '.join(others[:5])}. It goes on, but its numbers "
            "may differ in the last digits from those of a run that was never interrupted."
        )


def _both(folder: RunFolder, description: Mapping[str, Any]) -> tuple[Any, Any]:
    return folder.description(), json.loads(json.dumps(plain(description)))


def _same_python(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether the same code has the same byte code in two runs."""
    first, second = (run["versions"]["python"].rsplit(".", 1)[0] for run in (found, wanted))
    return bool(first == second)


def _advice(folder: RunFolder, differences: list[str]) -> str:
    text = ""
    if any(difference.startswith("fingerprint.weights") for difference in differences):
        text += (
            "Weights that are drawn at random are other ones in each process: call "
            "keras.utils.set_random_seed before the network is built; that run's first network is "
            f"in {str(folder.path / START)!r} (miha.load), and with it the run goes on. "
        )
    if any(difference.startswith("arguments.logged") for difference in differences):
        text += (
            "Keras numbers names anew in each process: call keras.utils.clear_session() before "
            "the network is built again, or give metrics a name. "
        )
    return text


def _name(fitness: Callable[..., Any]) -> Any:
    """Return what a user calls a fitness; what it does is told by its code."""
    if not is_user_code(fitness):
        return plain(fitness)
    return getattr(fitness, "__qualname__", type(fitness).__qualname__)


def _code(plan: Plan) -> dict[str, Any]:
    """Return checksums of what fitness and mutations do, as far as they are the user's own."""
    parts: dict[str, Any] = {"fitness": plan.fitness}
    parts |= {f"mutations.{i}": type(m) for i, m in enumerate(plan.mutations)}
    return {name: digest(part) for name, part in parts.items()}


def _only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values.get(name) for name in names}


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Yield in words what differs between two structures."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*found, *wanted]):
            at = f"{name}.{key}" if name else key
            yield from _differences(found.get(key), wanted.get(key), at)
    elif found != wanted:
        yield f"{name} is {_short(found)} and not {_short(wanted)}"


def _one_each(differences: list[str]) -> list[str]:
    """Keep the first difference of each argument: one list can differ in many places."""
    first = {tuple(text.split(" ")[0].split(".")[:3]): text for text in reversed(differences)}
    return [text for text in differences if text in first.values()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
