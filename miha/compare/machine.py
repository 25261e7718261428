"""The machine and the versions that a comparison ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("miha", "keras", "optuna", "optuna-integration", "keras-tuner", "ray")


def circumstances() -> dict[str, str | int | None]:
    """Return versions, processor and cores."""
    own = backend()
    return {
        "python": platform.python_version(),
        own: _version(own),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def backend() -> str:
    """Return what Keras runs on, or would run on if it were imported."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].config.backend())
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines: list[str] = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line for line in file if line.startswith("model name")]
    name = lines[0].split(":", 1)[1].strip() if lines else ""
    return name or platform.processor() or platform.machine()
