"""Mutations: pure operators on genomes, which draw from the generator they are given."""

from __future__ import annotations

from miha.mutations.base import Mutation
from miha.mutations.batch import BatchSizeMutation
from miha.mutations.draw import MUTATIONS, distinct_mutants, mutate, resolve
from miha.mutations.layers import (
    ActivationMutation,
    ActivationsMutation,
    DropoutMutation,
    NoiseMutation,
    with_activations,
)
from miha.mutations.losses import LabelSmoothingMutation, LossMutation
from miha.mutations.optimizers import (
    LearningRateMutation,
    MomentumMutation,
    OptimizerMutation,
    WeightDecayMutation,
)
from miha.mutations.weights import PerturbMutation
from miha.mutations.words import describe

__all__ = [
    "MUTATIONS",
    "ActivationMutation",
    "ActivationsMutation",
    "BatchSizeMutation",
    "DropoutMutation",
    "LabelSmoothingMutation",
    "LearningRateMutation",
    "LossMutation",
    "MomentumMutation",
    "Mutation",
    "NoiseMutation",
    "OptimizerMutation",
    "PerturbMutation",
    "WeightDecayMutation",
    "describe",
    "distinct_mutants",
    "mutate",
    "resolve",
    "with_activations",
]
