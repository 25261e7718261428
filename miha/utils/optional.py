"""Packages that only a part of MIHA needs: imported when that part is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from miha.errors import MihaError


def need(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its name, e.g. ``"plotly.graph_objects"``.
        extra: The extra of MIHA that installs it.

    Raises:
        MihaError: The package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] != error.name.split(".")[0]:
            raise  # The package is there, and lacks something itself.
        raise MissingPackageError(
            f"The package {error.name!r} must be installed for this. Received: a Python without "
            f"it. Run: pip install 'miha[{extra}]'"
        ) from error


class MissingPackageError(MihaError, ImportError):
    """An optional package is not installed."""
