"""Mutations: pure operators on genomes, which draw from the generator they are given."""

from __future__ import annotations

from miha.mutations.base import Mutation
from miha.mutations.draw import MUTATIONS, distinct_mutants, mutate, resolve
from miha.mutations.network import (
    ActivationMutation,
    ActivationsMutation,
    AugmentationMutation,
    DropoutMutation,
    InputNoiseMutation,
    LabelSmoothingMutation,
    NoiseMutation,
    with_activations,
)
from miha.mutations.optimizers import (
    BatchSizeMutation,
    LearningRateMutation,
    OptimizerMutation,
    WeightDecayMutation,
)
from miha.mutations.rules import describe

__all__ = [
    "MUTATIONS",
    "ActivationMutation",
    "ActivationsMutation",
    "AugmentationMutation",
    "BatchSizeMutation",
    "DropoutMutation",
    "InputNoiseMutation",
    "LabelSmoothingMutation",
    "LearningRateMutation",
    "Mutation",
    "NoiseMutation",
    "OptimizerMutation",
    "WeightDecayMutation",
    "describe",
    "distinct_mutants",
    "mutate",
    "resolve",
    "with_activations",
]
