"""Records: what they compute, and that they cannot be changed."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import pytest
from fakes import GENOME, RICH, make_network, make_record

from miha.records import (
    UNCHANGED,
    Change,
    Curve,
    Epoch,
    Genome,
    Schedule,
    TrainingRecord,
    as_loss,
    is_better,
)
from miha.utils.json_values import plain


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
        "adamw at 0.005, weight decay 0.004, batch size 4, label smoothing 0, augmentation 0, "
        "drop: 0.25, noise: 0.1, noise on x 0, noise on y 0.5"
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
    assert RICH.with_input_noise("x", 1.0).input_noise == (("x", 1.0), ("y", 0.5))


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
    values = {
        "gene": "batch_size",
        "text": "batch size 32 -> 64",
        "transition": "inherit",
        "mate": None,
    }
    assert change.to_json() == values
    assert Change.from_json(values) == change


@pytest.mark.parametrize(
    "change",
    [
        UNCHANGED,
        Change("restart", "fresh weights", "restart"),
        Change("crossover", "the mean", "inherit", "population/1_1_model.zip"),
        Change("activation", "relu -> gelu", "keep_function"),
    ],
)
def test_a_change_survives_json(change):
    assert Change.from_json(json.loads(json.dumps(change.to_json()))) == change


def test_a_change_of_an_earlier_version_has_fewer_fields():
    assert Change.from_json({"gene": "none", "text": "unchanged"}) == UNCHANGED


@pytest.mark.parametrize(
    ("gene", "kind"),
    [
        ("none", "unchanged"),
        ("restart", "restart"),
        ("crossover", "crossover"),
        ("soup", "crossover"),  # Its name in version 0.3.0.
        ("batch_size", "mutation"),
        ("a_gene_of_mine", "mutation"),
    ],
)
def test_a_change_knows_its_kind(gene, kind):
    change = Change(gene, "some words")
    assert change.kind == kind
    assert (change.is_control, change.is_restart) == (gene == "none", gene == "restart")


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


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [
        (1.0, 2.0, True),
        (2.0, 1.0, False),
        (1.0, 1.0, False),
        (1.0, math.nan, True),
        (1.0, -math.inf, True),
        (math.nan, 1.0, False),
        (-math.inf, 1.0, False),
        (math.nan, math.nan, False),
    ],
)
def test_a_value_is_better_where_it_is_smaller_or_the_only_finite_one(value, other, expected):
    assert is_better(value, other, "min") is expected
    assert is_better(-value, -other, "max") is expected


def test_a_loss_is_better_small():
    assert (as_loss(2.0, "min"), as_loss(2.0, "max")) == (2.0, -2.0)


@pytest.mark.parametrize(
    ("logs", "value"),
    [
        ({"loss": 1.0, "val_loss": 0.5}, 0.5),
        ({"val_loss": 0.5}, 0.5),
        ({"loss": math.nan, "val_loss": 0.5}, math.nan),
        ({"loss": math.inf, "val_loss": 0.5}, math.nan),
    ],
)
def test_an_epoch_whose_loss_is_not_finite_has_no_value(logs, value):
    assert Epoch(logs, 0.1).value("val_loss") == pytest.approx(value, nan_ok=True)


def test_an_epoch_has_no_value_that_was_not_logged():
    with pytest.raises(KeyError, match="val_f1"):
        Epoch({"loss": 1.0}, 0.1).value("val_f1")


def test_the_epochs_left_are_those_that_the_network_itself_still_trains():
    schedule = Schedule(m=10, n=3, k=2, c=4, pop_size=5)
    assert [schedule.epochs_left(cycle) for cycle in (1, 3, 4)] == [2 + 15 + 10, 2 + 5 + 10, 12]
    assert schedule.epochs_of_cycle == 17
    phases = ("initial", "clone", "winner", "final")
    assert [schedule.epochs_of(phase) for phase in phases] == [10, 3, 2, 10]


def test_a_record_counts_the_epochs_of_its_ancestors():
    assert make_record(values=(0.5, 0.25), age=7).age == 7
    assert make_record(values=(0.5, 0.25), age=7).first_epoch == 6
    assert make_record(age=7).replace(epochs=()).age == 5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fitness": 0.5}, False),
        ({"fitness": None}, True),
        ({"fitness": -math.inf}, True),
        ({"fitness": math.nan}, True),
    ],
)
def test_a_clone_has_lost_where_it_failed_or_diverged(changes, expected):
    assert make_record(**changes).has_lost is expected


def test_the_seconds_of_a_training_are_those_of_its_epochs_where_none_were_noted():
    assert make_record(seconds=3.0).wall_seconds == 3.0
    assert make_record(seconds=0.0).wall_seconds == 0.0
    assert make_record().wall_seconds == pytest.approx(0.2)


def test_a_record_has_the_monitored_value_of_each_epoch():
    assert make_record(values=(0.5, 0.25)).values("val_loss") == [0.5, 0.25]
    assert make_record(values=(0.5, 0.25)).values("loss") == [1.0, 0.5]


def test_a_network_has_the_genome_of_its_record():
    assert make_network().genome is GENOME


def test_a_record_is_plain_values_in_json():
    record = make_record(fitness=0.5)
    values = record.to_json()
    assert json.loads(json.dumps(values)) == values
    assert values == {
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
        "rates": [],
        "data": "train",
        "epochs": [
            {"loss": 1.0, "val_loss": 0.5, "seconds": 0.1},
            {"loss": 0.5, "val_loss": 0.25, "seconds": 0.1},
        ],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fitness": -0.5},
        {"genome": RICH, "change": Change("crossover", "the mean", mate="a.zip")},
        {"archive": None, "failure": "MemoryError", "start": None, "fitness": -math.inf},
        {"phase": "final", "cycle": None, "clone": None, "restored": "model/model_1.zip"},
        {"epochs": (), "seconds": 1.5},
        {"rates": (1.0, 0.5)},
        {"phase": "final", "cycle": None, "clone": None, "data": "all"},
        {"value": math.inf, "fitness": -math.inf, "failure": "diverged"},
    ],
    ids=str,
)
def test_a_record_survives_the_way_through_the_journal(changes):
    record = make_record().replace(**changes)
    text = json.dumps(plain(record.to_json()), allow_nan=False)
    assert TrainingRecord.from_json(json.loads(text)) == record


def test_a_record_of_values_that_are_no_numbers_survives_the_journal():
    record = make_record(values=(math.nan,)).replace(start=None)
    again = TrainingRecord.from_json(json.loads(json.dumps(plain(record.to_json()))))
    assert math.isnan(again.value) and math.isnan(again.epochs[0].logs["val_loss"])
    assert again.replace(value=0.0, epochs=()) == record.replace(value=0.0, epochs=())


def test_a_record_of_version_0_3_0_lacks_fields_and_one_before_had_two_parents():
    values = make_record().to_json()
    for name in ("seconds", "restored", "start"):
        del values[name]
    assert TrainingRecord.from_json(values) == make_record().replace(start=None)
    both = values | {"parent": ["a.zip", "b.zip"]}
    assert TrainingRecord.from_json(both).parent == "a.zip"


def test_a_clone_that_an_earlier_version_pruned_is_read_as_one_that_has_lost():
    record = make_record(fitness=0.5)
    values = record.to_json()
    assert TrainingRecord.from_json(values | {"pruned": False}) == record
    pruned = TrainingRecord.from_json(values | {"pruned": True})
    assert pruned == record.replace(failure="pruned", fitness=-math.inf)
    assert pruned.has_lost


def test_a_record_must_have_what_every_record_has():
    values = make_record().to_json()
    del values["genome"]
    with pytest.raises(KeyError, match="genome"):
        TrainingRecord.from_json(values)
