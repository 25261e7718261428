"""Layers that add noise: which of a network's may mutate, and under what names."""

from __future__ import annotations

import keras
import numpy as np
from contract import make_contract_trainer
from keras import layers

from miha.trainer.genes.mutable import choose_noise
from miha.trainer.genes.noise import find_noise, noise_in
from miha.trainer.network.survey import Survey


def compiled(*stack):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Reshape((8, 8)), *stack])
    model.compile("sgd", "mse")
    return model


def names(model):
    return list(choose_noise(Survey(model)).values())


def test_layers_of_every_kind_are_found_in_their_order():
    stack = [layers.SpatialDropout1D(0.1), layers.GaussianNoise(0.2), layers.AlphaDropout(0.3)]
    found = find_noise(compiled(*stack, layers.GaussianDropout(0.4), layers.Dropout(0.5)))
    assert [noise.amount for noise in found] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [noise.gene for noise in found] == ["dropout", "noise", "dropout", "dropout", "dropout"]


def test_names_are_unique_and_paths():
    inner = keras.Sequential([layers.Dropout(0.1), layers.Dropout(0.2, name="named")], name="inner")
    model = compiled(layers.Dropout(0.3), inner, layers.Dropout(0.4))
    assert names(model) == ["dropout", "inner/dropout_1", "inner/named", "dropout_2"]


def test_a_layer_used_twice_is_one_place():
    shared = layers.Dropout(0.1, name="shared")
    assert names(compiled(shared, layers.Dense(4), shared)) == ["shared"]


def test_the_noise_of_recurrent_layers_is_theirs():
    cells = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(2), layers.LSTMCell(2)]))
    assert names(compiled(layers.LSTM(2, dropout=0.5, return_sequences=True), cells)) == []


def test_the_dropout_within_an_attention_layer_is_its_own():
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Reshape((8, 8))(inputs)
    attended = layers.MultiHeadAttention(2, 4, dropout=0.2)(hidden, hidden)
    model = keras.Model(inputs, layers.Dropout(0.3, name="mine")(attended))
    model.compile("sgd", "mse")
    assert len(find_noise(model)) == 2
    assert names(model) == ["mine"]


@keras.saving.register_keras_serializable("miha_tests")
class Block(layers.Layer):
    """Tells its first rate only, and gives it to a second layer as well."""

    def __init__(self, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dropout(rate, name="first")
        self.second = layers.Dropout(rate, name="second")
        self.third = layers.Dropout(0.5, name="third")

    def call(self, inputs, training=False):
        hidden = self.second(self.first(inputs, training=training), training=training)
        return self.third(hidden, training=training)

    def get_config(self):
        return {**super().get_config(), "rate": self.first.rate}


def test_rates_that_an_archive_would_not_hold_one_by_one_do_not_mutate():
    model = compiled(Block(0.2), layers.Dropout(0.3, name="mine"))
    before = [noise.amount for noise in find_noise(model)]
    assert names(model) == ["mine"]
    assert [noise.amount for noise in find_noise(model)] == before == [0.2, 0.2, 0.5, 0.3]


def test_a_dropout_of_the_users_own_making_does_not_mutate():
    class Mine(layers.Dropout):
        pass

    assert names(compiled(Mine(0.5))) == []


def test_a_place_in_a_copy_has_the_name_that_it_has_in_the_network():
    model = compiled(layers.Dropout(0.1), layers.Dropout(0.0))
    [place] = noise_in(model, {1: "other"})
    assert (place.name, place.amount, len(model.layers[2].variables)) == ("other", 0.0, 1)


def test_inference_is_without_noise():
    model = compiled(layers.Flatten(), layers.Dropout(0.9))
    x = np.ones((4, 8, 8, 1), "float32")
    trainer = make_contract_trainer(model, (x, np.zeros((4, 64), "float32")), batch_size=4)
    np.testing.assert_array_equal(trainer._network(x), np.ones((4, 64)))
