"""The same budget for MIHA and for what else one would take: ``compare(build_model, data)``.

``pip install 'miha[compare]'`` installs the libraries that are compared with.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miha.compare.comparison import Comparison as Comparison
    from miha.compare.configurations import ConfigurationSpace as ConfigurationSpace
    from miha.compare.folds import Folds as Folds
    from miha.compare.folds import cross_validate as cross_validate
    from miha.compare.harness import compare as compare
    from miha.compare.strategies import CATALOGUE as CATALOGUE
    from miha.compare.strategies.base import Strategy as Strategy
    from miha.compare.strategies.keras_tuner import KerasTunerBayesian as KerasTunerBayesian
    from miha.compare.strategies.keras_tuner import KerasTunerHyperband as KerasTunerHyperband
    from miha.compare.strategies.mutation import Miha as Miha
    from miha.compare.strategies.mutation import Miha2021 as Miha2021
    from miha.compare.strategies.optuna import OptunaEvolution as OptunaEvolution
    from miha.compare.strategies.optuna import OptunaHyperband as OptunaHyperband
    from miha.compare.strategies.optuna import OptunaMedian as OptunaMedian
    from miha.compare.strategies.plain import CosineAverages as CosineAverages
    from miha.compare.strategies.plain import CosineEarlyStopping as CosineEarlyStopping
    from miha.compare.strategies.plain import Plain as Plain
    from miha.compare.strategies.ray import RayAsha as RayAsha
    from miha.compare.strategies.ray import RayPbt as RayPbt
    from miha.compare.strategies.sampling import GridSearch as GridSearch
    from miha.compare.strategies.sampling import RandomSearch as RandomSearch
    from miha.compare.strategies.sampling import ThenTrain as ThenTrain
    from miha.compare.task import Task as Task

# Keras takes seconds to import: a name's module is imported when the name is first used.
_NAMES = {
    "comparison": ["Comparison"],
    "configurations": ["ConfigurationSpace"],
    "folds": ["Folds", "cross_validate"],
    "harness": ["compare"],
    "strategies": ["CATALOGUE"],
    "strategies.base": ["Strategy"],
    "strategies.keras_tuner": ["KerasTunerBayesian", "KerasTunerHyperband"],
    "strategies.mutation": ["Miha", "Miha2021"],
    "strategies.optuna": ["OptunaEvolution", "OptunaHyperband", "OptunaMedian"],
    "strategies.plain": ["CosineAverages", "CosineEarlyStopping", "Plain"],
    "strategies.ray": ["RayAsha", "RayPbt"],
    "strategies.sampling": ["GridSearch", "RandomSearch", "ThenTrain"],
    "task": ["Task"],
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'miha.compare' has no attribute {name!r}")
    return getattr(import_module(f"miha.compare.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
