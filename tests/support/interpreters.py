"""What a fresh interpreter imports."""

from __future__ import annotations

import os
import subprocess
import sys

from paths import SUPPORT

HEAVY = ("tensorflow", "keras", "pandas", "plotly", "optuna", "mlflow", "tensorboard", "scipy")


def imported(code: str) -> set[str]:
    """Return which of the heavy packages a fresh interpreter has after some code."""
    report = f"\nimport sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + report],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
