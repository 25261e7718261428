"""The loss: when its label smoothing may mutate, and what is kept then."""

from __future__ import annotations

import keras
import pytest
from contract import make_contract_trainer, spoilt, train
from genes import ON_REQUEST, one_hot, regression
from networks import branched, branched_data, dense, images

from miha.trainer.genes.losses import CLASSES, find_loss


def classifier(loss):
    model = dense()
    model.compile("sgd", loss)
    return model


def slot_of(loss):
    model = regression(loss)
    model.test_on_batch(*one_hot(4))
    return find_loss(model)


def assert_no_smoothing(trainer):
    assert (trainer.genome.label_smoothing, trainer.space.label_smoothing) == (None, ())


def test_a_network_with_several_losses_keeps_them():
    trainer = make_contract_trainer(branched(), branched_data(), genes=ON_REQUEST)
    assert_no_smoothing(trainer)
    train(trainer, 1)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "hinge", "mse", spoilt])
def test_a_loss_without_label_smoothing_is_kept(loss):
    model = classifier(loss)
    data = images() if isinstance(loss, str) and loss.startswith("sparse") else one_hot()
    assert_no_smoothing(make_contract_trainer(model, data, genes=ON_REQUEST))


def test_a_loss_stays_where_nobody_asks_for_another_smoothing():
    assert_no_smoothing(make_contract_trainer(classifier("categorical_crossentropy"), one_hot()))


def test_a_genome_that_leaves_the_smoothing_open_has_the_users_own():
    model = classifier(keras.losses.CategoricalCrossentropy(label_smoothing=0.2))
    trainer = make_contract_trainer(model, one_hot(), genes=ON_REQUEST)
    own = trainer.genome
    trainer.express(own.replace(label_smoothing=0.1))
    trainer.express(own.replace(label_smoothing=None))
    assert trainer.genome == own
    assert own.label_smoothing == 0.2


@pytest.mark.parametrize("name", CLASSES)
def test_a_loss_that_was_given_by_its_name_has_no_smoothing_at_first(name):
    slot = slot_of(name)
    assert (slot.name, slot.label_smoothing) == (name, 0.0)
    assert slot.make(0.0) is slot.own
    assert isinstance(slot.make(0.1), CLASSES[name])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("categorical_crossentropy", {"from_logits": True, "axis": -1}),
        ("categorical_focal_crossentropy", {"alpha": 0.4, "gamma": 1.5}),
        ("binary_crossentropy", {"from_logits": True}),
        ("binary_focal_crossentropy", {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5}),
    ],
)
def test_what_the_user_set_is_kept_with_another_smoothing(name, settings):
    own = CLASSES[name](**settings, label_smoothing=0.2, reduction="sum")
    slot = slot_of(own)
    assert slot.label_smoothing == 0.2
    assert slot.make(0.2) is own
    changed = own.get_config() | {"label_smoothing": 0.1}
    assert slot.make(0.1).get_config() == changed
