"""The same budget for MIHA and for what else one would take: ``compare(build_model, data)``.

``pip install 'miha[compare]'`` installs the libraries that are compared with.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miha.compare.comparison import Comparison
    from miha.compare.configurations import ConfigurationSpace
    from miha.compare.harness import compare
    from miha.compare.strategies import CATALOGUE
    from miha.compare.strategies.base import Strategy
    from miha.compare.strategies.keras_tuner import KerasTunerBayesian, KerasTunerHyperband
    from miha.compare.strategies.mutation import Miha, Miha2021
    from miha.compare.strategies.optuna import OptunaHyperband, OptunaMedian
    from miha.compare.strategies.plain import CosineEarlyStopping, Plain
    from miha.compare.strategies.ray import RayAsha, RayPbt
    from miha.compare.strategies.sampling import GridSearch, RandomSearch, ThenTrain
    from miha.compare.task import Task

__all__ = [
    "CATALOGUE",
    "Comparison",
    "ConfigurationSpace",
    "CosineEarlyStopping",
    "GridSearch",
    "KerasTunerBayesian",
    "KerasTunerHyperband",
    "Miha",
    "Miha2021",
    "OptunaHyperband",
    "OptunaMedian",
    "Plain",
    "RandomSearch",
    "RayAsha",
    "RayPbt",
    "Strategy",
    "Task",
    "ThenTrain",
    "compare",
]

# Keras takes seconds to import: a name's module is imported when the name is first used.
_MODULES = {
    "Comparison": "comparison",
    "ConfigurationSpace": "configurations",
    "compare": "harness",
    "Task": "task",
    "CATALOGUE": "strategies",
    "Strategy": "strategies.base",
    "KerasTunerBayesian": "strategies.keras_tuner",
    "KerasTunerHyperband": "strategies.keras_tuner",
    "Miha": "strategies.mutation",
    "Miha2021": "strategies.mutation",
    "OptunaHyperband": "strategies.optuna",
    "OptunaMedian": "strategies.optuna",
    "CosineEarlyStopping": "strategies.plain",
    "Plain": "strategies.plain",
    "RayAsha": "strategies.ray",
    "RayPbt": "strategies.ray",
    "GridSearch": "strategies.sampling",
    "RandomSearch": "strategies.sampling",
    "ThenTrain": "strategies.sampling",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'miha.compare' has no attribute {name!r}")
    module = import_module(f"miha.compare.{_MODULES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
