"""MIHA trains one Keras network and mutates its hyperparameters while it learns.

``MIHA(model, x, y, validation_data=...).optimize()`` is all that most users need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from miha.api import MIHA as MIHA
    from miha.archive.archive import describe as describe
    from miha.archive.archive import load as load
    from miha.callbacks import Callback as Callback
    from miha.data.batches import Batches as Batches
    from miha.errors import ArchiveError as ArchiveError
    from miha.errors import ArgumentError as ArgumentError
    from miha.errors import JournalError as JournalError
    from miha.errors import MihaError as MihaError
    from miha.errors import MihaWarning as MihaWarning
    from miha.errors import RunExistsError as RunExistsError
    from miha.errors import RunLockedError as RunLockedError
    from miha.errors import StorageError as StorageError
    from miha.errors import TrainerError as TrainerError
    from miha.executors.ray import RayExecutor as RayExecutor
    from miha.mutations.base import Mutation as Mutation
    from miha.mutations.network import ActivationMutation as ActivationMutation
    from miha.mutations.network import ActivationsMutation as ActivationsMutation
    from miha.mutations.network import AugmentationMutation as AugmentationMutation
    from miha.mutations.network import DropoutMutation as DropoutMutation
    from miha.mutations.network import InputNoiseMutation as InputNoiseMutation
    from miha.mutations.network import LabelSmoothingMutation as LabelSmoothingMutation
    from miha.mutations.network import NoiseMutation as NoiseMutation
    from miha.mutations.optimizers import BatchSizeMutation as BatchSizeMutation
    from miha.mutations.optimizers import LearningRateMutation as LearningRateMutation
    from miha.mutations.optimizers import OptimizerMutation as OptimizerMutation
    from miha.mutations.optimizers import WeightDecayMutation as WeightDecayMutation
    from miha.options import Budget as Budget
    from miha.options import Execution as Execution
    from miha.options import Search as Search
    from miha.records import Curve as Curve
    from miha.records import Genome as Genome
    from miha.records import TrainingRecord as TrainingRecord
    from miha.replays.fit_callback import ReplayCallback as ReplayCallback
    from miha.replays.replay import Replayed as Replayed
    from miha.replays.replay import replay as replay
    from miha.replays.schedule import HyperparameterSchedule as HyperparameterSchedule
    from miha.replays.schedule import Segment as Segment
    from miha.results.reader import load_run as load_run
    from miha.results.result import Result as Result
    from miha.search.fitness import LevelAndSlope as LevelAndSlope
    from miha.space import SearchSpace as SearchSpace

# Loaded when first used, so that `import miha` is fast.
_HOMES = {
    "MIHA": "api",
    "describe": "archive.archive",
    "load": "archive.archive",
    "Batches": "data.batches",
    "Callback": "callbacks",
    "ArchiveError": "errors",
    "ArgumentError": "errors",
    "JournalError": "errors",
    "MihaError": "errors",
    "MihaWarning": "errors",
    "RunExistsError": "errors",
    "RunLockedError": "errors",
    "StorageError": "errors",
    "TrainerError": "errors",
    "RayExecutor": "executors.ray",
    "LevelAndSlope": "search.fitness",
    "ActivationMutation": "mutations.network",
    "ActivationsMutation": "mutations.network",
    "AugmentationMutation": "mutations.network",
    "BatchSizeMutation": "mutations.optimizers",
    "DropoutMutation": "mutations.network",
    "InputNoiseMutation": "mutations.network",
    "LabelSmoothingMutation": "mutations.network",
    "LearningRateMutation": "mutations.optimizers",
    "Mutation": "mutations.base",
    "NoiseMutation": "mutations.network",
    "OptimizerMutation": "mutations.optimizers",
    "WeightDecayMutation": "mutations.optimizers",
    "load_run": "results.reader",
    "Budget": "options",
    "Execution": "options",
    "Search": "options",
    "Curve": "records",
    "Genome": "records",
    "TrainingRecord": "records",
    "Replayed": "replays.replay",
    "replay": "replays.replay",
    "Result": "results.result",
    "SearchSpace": "space",
    "HyperparameterSchedule": "replays.schedule",
    "Segment": "replays.schedule",
    "ReplayCallback": "replays.fit_callback",
}

_ROOMS = ("compare", "integrations", "visualization")
"""Modules that a user calls by name, loaded likewise."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"miha.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'miha' has no attribute {name!r}")
    return getattr(import_module(f"miha.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]
