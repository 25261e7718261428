"""The loss: when it may mutate, and what into."""

from __future__ import annotations

import keras
import pytest
from contract import make_contract_trainer, spoilt, train
from genes import BOTH, one_hot, regression
from networks import branched, branched_data, dense, images

from miha import ArgumentError
from miha.trainer.genes.losses import find_loss


def classifier(loss):
    model = dense()
    model.compile("sgd", loss)
    return model


def slot_of(loss):
    model = regression(loss)
    model.test_on_batch(*one_hot(4))
    return find_loss(model)


def test_a_network_with_several_losses_keeps_them():
    trainer = make_contract_trainer(branched(), branched_data(), genes=BOTH)
    assert (trainer.genome.loss, trainer.space.losses) == (None, ())
    train(trainer, 1)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "hinge", spoilt])
def test_a_loss_without_a_family_is_kept(loss):
    model = classifier(loss)
    data = images() if isinstance(loss, str) and loss.startswith("sparse") else one_hot()
    trainer = make_contract_trainer(model, data, genes=BOTH)
    assert (trainer.space.losses, trainer.space.label_smoothing) == ((), ())


def test_a_loss_stays_where_nobody_asks_for_another():
    trainer = make_contract_trainer(classifier("categorical_crossentropy"), one_hot())
    assert (trainer.space.losses, trainer.space.label_smoothing) == ((), ())


@pytest.mark.parametrize("gene", BOTH)
def test_each_gene_of_the_loss_can_be_asked_for_alone(gene):
    model = classifier("categorical_crossentropy")
    trainer = make_contract_trainer(model, one_hot(), genes=(gene,))
    assert (trainer.genome.loss is None) == (gene != "loss")
    assert (trainer.genome.label_smoothing is None) == (gene == "loss")


def test_what_the_user_set_is_carried_over_within_the_family():
    own = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.2, axis=-1, reduction="sum"
    )
    slot = slot_of(own)
    assert (slot.variant, slot.make(slot.variant)) == (("categorical_crossentropy", 0.2), own)
    config = slot.make(("categorical_focal_crossentropy", 0.1)).get_config()
    assert (config["from_logits"], config["reduction"]) == (True, "sum")
    assert config["label_smoothing"] == 0.1
    smoother = slot.make(("categorical_crossentropy", 0.0)).get_config()
    assert (smoother["from_logits"], smoother["label_smoothing"]) == (True, 0.0)


def test_losses_may_be_named_as_keras_does():
    trainer = make_contract_trainer(
        regression("mae"), one_hot(), genes=BOTH, losses=["MSE", "Huber"]
    )
    assert trainer.space.losses == ("mean_absolute_error", "mean_squared_error", "huber")


@pytest.mark.parametrize("name", ["categorical_crossentropy", "loss of mine"])
def test_losses_of_another_family_are_refused_by_name(name):
    with pytest.raises(ArgumentError, match=f"`losses` must be of the family.*{name}"):
        make_contract_trainer(regression("mse"), one_hot(), genes=BOTH, losses=["mae", name])
