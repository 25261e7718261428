"""The machine and the versions that a comparison ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("miha", "keras", "optuna", "optuna-integration", "keras-tuner", "ray")


def circumstances() -> dict[str, str | int | None]:
    """Return versions, processor, cores, and GPUs where there are any."""
    own, gpus = backend(), _gpus()
    return {
        "python": platform.python_version(),
        own: _version(own),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "processor": _processor(),
        "cores": os.cpu_count(),
        **({"gpu": gpus} if gpus else {}),
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


def _gpus() -> str:
    """Return the names of GPUs as the driver tells them: a library would take their memory."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return ", ".join(found.stdout.split("\n")[:-1]) if found.returncode == 0 else ""
    return ""


def _processor() -> str:
    lines: list[str] = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line for line in file if line.startswith("model name")]
    name = lines[0].split(":", 1)[1].strip() if lines else ""
    return name or platform.processor() or platform.machine()
