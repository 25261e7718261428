"""Diagnosis: what the curves of a network ask for."""

from __future__ import annotations

import math

import pytest
from fakes import GENOME, SPACE

from miha.mutations import MUTATIONS
from miha.records import Epoch
from miha.search.diagnosis import FACTORS, REGULARISATION, TRAINING, asked_for, diagnose


def epochs(losses, values):
    pairs = zip(losses, values, strict=True)
    return [Epoch({"loss": loss, "val_loss": value}, 0.1) for loss, value in pairs]


@pytest.mark.parametrize(
    ("losses", "values", "state"),
    [
        ([0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5], "overfits"),
        ([0.9, 0.8, 0.7, 0.6], [1.0, 0.9, 0.8, 0.7], "learns"),
        ([0.7, 0.7, 0.7, 0.7], [0.7, 0.7, 0.7, 0.7], "stands still"),
        ([0.6, 0.8, 0.6, 0.8], [0.7, 0.9, 0.7, 0.9], "stands still"),
        ([2.169, 2.166, 2.164, 2.161], [2.177, 2.176, 2.175, 2.174], "crawls"),
        # Not in each epoch, or by as much as a network that was trained for long.
        ([2.169, 2.170, 2.164, 2.161], [2.177, 2.176, 2.175, 2.174], "stands still"),
        ([0.70, 0.69, 0.68, 0.67], [0.7, 0.7, 0.7, 0.7], "stands still"),
        ([0.5], [0.5], "unknown"),
        ([], [], "unknown"),
        ([0.5, math.nan], [0.5, 0.4], "unknown"),
        ([0.5, 0.4], [0.5, math.inf], "unknown"),
        ([0.0, 0.0], [0.0, 0.0], "unknown"),
    ],
)
def test_the_latest_epochs_tell_what_a_network_does(losses, values, state):
    assert diagnose(epochs(losses, values)) == state


def test_only_the_latest_epochs_count():
    past = epochs([0.1] * 9, [9.0] * 9)
    now = epochs([0.7] * 4, [0.7] * 4)
    assert diagnose([*past, *now]) == "stands still"


def test_a_network_without_both_losses_is_unknown():
    assert diagnose([Epoch({"loss": 0.1, "eval_loss": 0.1}, 0.1)] * 4) == "unknown"
    assert diagnose([Epoch({"val_loss": 0.1}, 0.1)] * 4) == "unknown"


def test_every_factor_is_of_a_gene_that_there_is():
    named = {gene for factors in FACTORS.values() for gene in factors}
    assert named <= set(MUTATIONS)
    assert set(REGULARISATION) | set(TRAINING) <= set(MUTATIONS)


@pytest.mark.parametrize("state", ["learns", "crawls"])
def test_a_network_that_learns_or_crawls_asks_for_a_larger_learning_rate(state):
    slow = GENOME.replace(learning_rate=0.001)
    genome, change = asked_for(state, slow, SPACE)
    assert genome == slow.replace(learning_rate=0.0025)
    assert (change.gene, change.text) == ("learning_rate", "learning rate 0.001 -> 0.0025")
    assert asked_for("overfits", slow, SPACE) is None
    assert asked_for("stands still", slow, SPACE) is None


def test_no_learning_rate_is_asked_for_where_none_may_be_larger():
    largest = GENOME.replace(learning_rate=SPACE.learning_rate[1])
    assert asked_for("learns", largest, SPACE) is None
    assert asked_for("learns", GENOME.replace(learning_rate=None), SPACE) is None
