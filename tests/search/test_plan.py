"""The plan of a run, and which mutations a network allows."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from fakes import GENOME, RICH, RICH_SPACE, SPACE, make_plan, make_record

from miha.errors import MihaWarning
from miha.mutations import resolve
from miha.search.plan import possible_mutations


def test_a_plan_has_the_values_of_all_epochs_in_order():
    untrained = make_record().replace(epochs=())
    records = [make_record(values=(0.9, 0.8)), untrained, make_record(values=(0.7,))]
    assert make_plan().values(records) == [0.9, 0.8, 0.7]
    assert make_plan(monitor="loss").values(records[::2]) == [1.8, 1.6, 1.4]


@pytest.mark.parametrize(
    ("changes", "is_open"),
    [({}, False), ({"rest": True}, True), ({"patience": 3}, True), ({"target": 0.0}, True)],
)
def test_a_plan_is_open_where_only_the_run_shows_how_long_it_is(changes, is_open):
    assert make_plan(**changes).is_open is is_open


def test_a_plan_counts_a_child_in_each_cycle_with_crossover():
    numbers = {"c": 3, "pop_size": 4}
    assert make_plan(**numbers).trainings == 2 + 3 * (4 + 1)
    assert make_plan(**numbers, crossover=True).trainings == 2 + 3 * (4 + 1 + 1)


def genes(names, genome, space, has_validation=True, rebatches=True):
    wanted = None if names is None else resolve(names)
    found = possible_mutations(wanted, genome, space, has_validation, rebatches)
    return [mutation.gene for mutation in found]


def test_by_default_all_that_the_network_has_mutates():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert genes(None, GENOME, SPACE) == [
            *("optimizer", "activation", "activations", "batch_size", "learning_rate")
        ]
        assert genes(None, RICH, RICH_SPACE) == [
            *("optimizer", "activation", "activations", "batch_size", "learning_rate"),
            *("weight_decay", "dropout", "noise", "input_noise", "augmentation"),
        ]


def test_without_validation_data_nothing_mutates_that_always_pleases_the_training_loss():
    found = genes(None, RICH, RICH_SPACE, has_validation=False)
    assert found == ["optimizer", "activation", "activations", "batch_size"]


def test_what_is_asked_for_mutates_without_validation_data_too():
    wishes = ["dropout", "label_smoothing", "input_noise", "augmentation"]
    assert genes(wishes, RICH, RICH_SPACE, has_validation=False) == wishes


@pytest.mark.parametrize(
    ("gene", "text"),
    [
        ("weight_decay", "no optimizer that decays weights"),
        ("dropout", "no Dropout layer"),
        ("noise", "no GaussianNoise layer"),
        ("label_smoothing", "not one single loss with label smoothing"),
        ("input_noise", "no input of floats"),
        ("augmentation", "no images, or no layers in `space.augmentation`"),
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


def test_batches_that_stay_as_they_are_have_no_mutation():
    with pytest.warns(MihaWarning, match="no mutation of batch_size: the data comes in batches"):
        assert "batch_size" not in genes(None, GENOME, SPACE, rebatches=False)


def test_a_schedule_of_learning_rates_is_kept():
    genome = GENOME.replace(learning_rate=None)
    with pytest.warns(MihaWarning, match="no mutation of learning_rate.*schedule is kept"):
        assert "learning_rate" not in genes(None, genome, SPACE)


def test_a_network_without_activations_is_told_of_by_default():
    with pytest.warns(MihaWarning, match="no mutation of activation"):
        found = genes(None, GENOME.replace(activations=()), replace(SPACE, slots={}))
    assert found == ["optimizer", "batch_size", "learning_rate"]
