"""Records: what they compute, and that they cannot be changed."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import pytest
from fakes import GENOME, RICH, make_network

from miha.records import Change, Curve, Genome, Schedule


def test_a_genome_survives_the_way_through_json():
    text = json.dumps(GENOME.to_dict())
    assert Genome.from_dict(json.loads(text)) == GENOME


def test_a_genome_without_learning_rate_and_activations_survives_json():
    genome = Genome("adam", None, 32)
    assert Genome.from_dict(json.loads(json.dumps(genome.to_dict()))) == genome


def test_a_genome_keeps_the_order_of_its_slots_through_json():
    genome = GENOME.replace(activations=(("z", "relu"), ("a", "tanh"), ("m", "elu")))
    read = Genome.from_dict(json.loads(json.dumps(genome.to_dict())))
    assert [slot for slot, _ in read.activations] == ["z", "a", "m"]


def test_a_genome_with_every_gene_survives_json():
    assert Genome.from_dict(json.loads(json.dumps(RICH.to_dict()))) == RICH


def test_a_genome_tells_no_gene_that_its_network_lacks():
    assert set(GENOME.to_dict()) == {"optimizer", "learning_rate", "batch_size", "activations"}
    assert str(GENOME) == "sgd at 0.005, batch size 4, hidden: relu, last: tanh"


def test_a_genome_says_all_its_genes_in_words():
    assert str(RICH.replace(activations=(), dropout=(("drop", 0.25),))) == (
        "adamw at 0.005, weight decay 0.004, batch size 4, label smoothing 0, "
        "drop: 0.25, noise: 0.1"
    )


def test_a_genome_of_an_earlier_version_has_genes_that_are_ignored():
    values = RICH.to_dict() | {"momentum": 0.9, "loss": "huber"}
    assert Genome.from_dict(values) == RICH


def test_a_genome_must_have_what_every_network_has():
    with pytest.raises(KeyError, match="batch_size"):
        Genome.from_dict({"optimizer": "adam", "learning_rate": 0.1, "activations": {}})


def test_dropout_and_noise_change_in_one_layer_only():
    assert RICH.with_dropout("drop_1", 0.3).dropout == (("drop", 0.5), ("drop_1", 0.3))
    assert RICH.with_noise("noise", 0.0).noise == (("noise", 0.0),)


def test_replace_leaves_the_original_as_it_was():
    child = GENOME.replace(batch_size=8)
    assert (child.batch_size, GENOME.batch_size) == (8, 4)
    assert child.replace(batch_size=4) == GENOME


def test_a_genome_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        GENOME.batch_size = 8


def test_with_activation_changes_one_slot_only():
    assert GENOME.with_activation("last", "relu").activations == (
        ("hidden", "relu"),
        ("last", "relu"),
    )


def test_equal_genomes_are_one_member_of_a_set():
    twin = Genome.from_dict(GENOME.to_dict())
    assert twin is not GENOME
    assert len({GENOME, twin, GENOME.replace(batch_size=8)}) == 2


def test_a_change_names_gene_and_text():
    change = Change("batch_size", "batch size 32 -> 64")
    told = {
        "gene": "batch_size",
        "text": "batch size 32 -> 64",
        "transition": "inherit",
        "mate": None,
    }
    assert change.to_dict() == told


@pytest.mark.parametrize(
    ("numbers", "epochs"),
    [
        ((10, 3, 3, 10, 5), 200),
        ((1, 1, 0, 0, 1), 2),
        ((2, 1, 0, 3, 4), 16),
        ((2, 2, 5, 1, 1), 11),
    ],
)
def test_a_schedule_counts_every_epoch(numbers, epochs):
    assert Schedule(*numbers).epochs == epochs


def test_a_curve_of_several_epochs_begins_with_its_first():
    assert Curve(9.0, (3.0, 2.0, 1.0)).first == 3.0


def test_a_curve_of_one_epoch_begins_with_the_parents_value():
    assert Curve(9.0, (3.0,)).first == 9.0


@pytest.mark.parametrize("start", [math.nan, math.inf])
def test_a_curve_of_one_epoch_after_a_diverged_parent_begins_with_itself(start):
    assert Curve(start, (3.0,)).first == 3.0


def test_a_curve_ends_with_its_last_value():
    assert Curve(9.0, (3.0, 2.0, 1.0)).last == 1.0


def test_a_network_has_the_genome_of_its_task():
    assert make_network().genome is GENOME


def test_a_network_describes_itself_in_plain_values():
    network = make_network(fitness=0.5)
    description = network.describe()
    assert json.loads(json.dumps(description)) == description
    assert description == {
        "phase": "clone",
        "cycle": 1,
        "clone": 0,
        "archive": "population/1_0_model.zip",
        "parent": "model/model_init.zip",
        "change": {"gene": "none", "text": "unchanged", "transition": "inherit", "mate": None},
        "genome": GENOME.to_dict(),
        "first_epoch": 6,
        "value": 0.25,
        "start": 0.5,
        "fitness": 0.5,
        "failure": None,
        "seconds": None,
        "restored": None,
        "epochs": [
            {"loss": 1.0, "val_loss": 0.5, "seconds": 0.1},
            {"loss": 0.5, "val_loss": 0.25, "seconds": 0.1},
        ],
    }
