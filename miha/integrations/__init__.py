"""Runs in the tools that people use already: each module needs its own optional package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["mlflow", "optuna", "tensorboard"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: each has a package of its own, which may not be installed.
    if name not in __all__:
        raise AttributeError(f"module 'miha.integrations' has no attribute {name!r}")
    return import_module(f"miha.integrations.{name}")


def __dir__() -> list[str]:
    return __all__
