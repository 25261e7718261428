"""Packages that only a part of MIHA needs: imported when that part is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from miha.errors import MihaError


class MissingPackageError(MihaError, ImportError):
    """An optional package is not installed."""


def need(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Its name, e.g. ``"plotly.graph_objects"``.
        extra: The extra of MIHA that installs it.

    Raises:
        MissingPackageError: The package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name
        package, *_ = module.split(".")
        # The package itself may be there, and lack another one.
        if missing is not None and missing.split(".")[0] != package:
            raise
        raise MissingPackageError(
            f"The package {missing!r} must be installed for this. Received: a Python without "
            f"it. Run: pip install 'miha[{extra}]'"
        ) from error
