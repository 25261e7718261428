"""Which mutations a network allows."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from fakes import GENOME, RICH, RICH_SPACE, SPACE

from miha.errors import MihaWarning
from miha.mutations import resolve
from miha.search.plan import possible_mutations, warn_of_unused
from miha.space import SearchSpace


def genes(wishes, genome, space, has_validation=True):
    asked = None if wishes is None else resolve(wishes)
    return [m.gene for m in possible_mutations(asked, genome, space, has_validation)]


def test_by_default_what_the_network_has_mutates_but_label_smoothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert genes(None, GENOME, SPACE) == [
            *("optimizer", "activation", "activations", "batch_size", "learning_rate")
        ]
        assert genes(None, RICH, RICH_SPACE) == [
            *("optimizer", "activation", "activations", "batch_size", "learning_rate"),
            *("weight_decay", "dropout", "noise"),
        ]


def test_without_validation_data_nothing_mutates_that_always_pleases_the_training_loss():
    found = genes(None, RICH, RICH_SPACE, has_validation=False)
    assert found == ["optimizer", "activation", "activations", "batch_size"]


def test_what_is_asked_for_mutates_without_validation_data_too():
    wishes = ["dropout", "label_smoothing"]
    assert genes(wishes, RICH, RICH_SPACE, has_validation=False) == wishes


@pytest.mark.parametrize(
    ("gene", "text"),
    [
        ("weight_decay", "no optimizer that decays weights"),
        ("dropout", "no Dropout layer"),
        ("noise", "no GaussianNoise layer"),
        ("label_smoothing", "not one single loss with label smoothing"),
    ],
)
def test_a_gene_that_is_asked_for_and_lacks_is_warned_of(gene, text):
    with pytest.warns(MihaWarning, match=f"no mutation of {gene}: the network has {text}"):
        assert genes([gene, "batch_size"], GENOME, SPACE) == ["batch_size"]


def test_a_number_that_only_another_optimizer_has_mutates_where_optimizers_do():
    genome = RICH.replace(optimizer="adagrad", weight_decay=None)
    assert "weight_decay" in genes(["optimizer", "weight_decay"], genome, RICH_SPACE)
    with pytest.warns(MihaWarning, match="no mutation of weight_decay"):
        assert genes(["batch_size", "weight_decay"], genome, RICH_SPACE) == ["batch_size"]


def test_a_network_without_activations_is_told_of_by_default():
    with pytest.warns(MihaWarning, match="no mutation of activation"):
        found = genes(None, GENOME.replace(activations=()), replace(SPACE, slots={}))
    assert found == ["optimizer", "batch_size", "learning_rate"]


def test_values_of_a_gene_that_does_not_mutate_are_warned_of():
    space = SearchSpace(label_smoothing=[0.3])
    with pytest.warns(MihaWarning, match="has no effect: 'label_smoothing' mutates only where"):
        warn_of_unused(None, space)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused(resolve(["label_smoothing"]), space)
        warn_of_unused(None, SearchSpace(label_smoothing=[0.0, 0.05, 0.1, 0.2], dropout=[0.1]))
