"""Where activations are found, and how they are exchanged."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from networks import branched, nested, recurrent, subclassed

from miha.trainer.genes.activations import ActivationSwitch, Slot, find_slots, is_elementwise


def slots_of(*stack, shape=(8, 8, 2)) -> dict[str, Slot]:
    """Find the slots of a network that ends with a Dense layer."""
    tail = [layers.Flatten(), layers.Dense(2, name="output")]
    model = keras.Sequential([keras.Input(shape), *stack, *tail])
    return {slot.name: slot for slot in find_slots(model) if slot.own_name != "linear"}


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(2, activation="selu", name="layer"),
        layers.Conv2D(2, 3, activation="selu", name="layer"),
        layers.Conv2DTranspose(2, 3, activation="selu", name="layer"),
        layers.DepthwiseConv2D(3, activation="selu", name="layer"),
        layers.SeparableConv2D(2, 3, activation="selu", name="layer"),
        layers.EinsumDense("abcd,de->abce", (8, 8, 3), activation="selu", name="layer"),
        layers.ConvLSTM1D(2, 3, activation="selu", name="layer"),
        layers.Activation("selu", name="layer"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_an_activation_is_found_wherever_keras_keeps_one(layer):
    slots = slots_of(layer)
    assert {name: slot.own_name for name, slot in slots.items()} == {"layer": "selu"}


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.ReLU(name="layer"), "relu"),
        (layers.ReLU(max_value=6, name="layer"), "own"),
        (layers.ELU(name="layer"), "elu"),
        (layers.ELU(alpha=0.5, name="layer"), "own"),
        (layers.LeakyReLU(name="layer"), "own"),
    ],
)
def test_a_layer_that_is_an_activation_is_a_slot(layer, name):
    assert slots_of(layer)["layer"].own_name == name


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_a_recurrent_layer_has_one_slot_which_is_not_its_gates(kind):
    stack = [layers.Reshape((8, 16)), kind(4, activation="relu", name="recurrent")]
    slots = slots_of(*stack)
    assert list(slots) == ["recurrent"]
    assert slots["recurrent"].own is keras.activations.relu
    assert slots["recurrent"].is_recurrent


def test_wrapped_and_nested_layers_are_found_and_shared_ones_once():
    assert [slot.name for slot in find_slots(nested())][:3] == ["encoder/inner", "shared", "leak"]
    paths = [slot.name for slot in find_slots(recurrent())]
    assert paths[:4] == [
        "bidirectional/forward_lstm",
        "bidirectional/backward_lstm",
        "time_distributed/dense",
        "gru",
    ]


def test_slots_have_the_same_names_however_often_the_network_was_built_before():
    names = [[slot.name for slot in find_slots(network())] for network in (nested, recurrent) * 2]
    assert names[0] == names[2]
    assert names[1] == names[3]


def test_a_softmax_inside_the_network_stays():
    assert slots_of(layers.Activation("softmax"), layers.Softmax()) == {}


def test_an_activation_object_belongs_to_its_layer():
    slots = slots_of(layers.Dense(2, activation=layers.LeakyReLU(0.1), name="layer"))
    assert {name: slot.own_name for name, slot in slots.items()} == {"layer": "own"}


def test_output_layers_are_known_whatever_stands_behind_them():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, activation="relu", name="hidden")(inputs)
    last = layers.Dense(4, activation="tanh", name="last")(hidden)
    reshaped = layers.Reshape((2, 2))(layers.Activation("sigmoid", name="gate")(last))
    slots = {slot.name: slot.is_output for slot in find_slots(keras.Model(inputs, reshaped))}
    assert slots == {"hidden": False, "last": True, "gate": True}


def test_the_outputs_of_a_network_with_several_are_all_known():
    slots = {slot.name: slot for slot in find_slots(branched())}
    assert [name for name, slot in slots.items() if slot.is_chosen_by_default] == [
        "small",
        "hidden",
    ]
    assert slots["level"].is_output


def test_the_output_layer_of_a_subclassed_network_is_found_by_calling_it():
    class Regressor(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(3, activation="relu", name="hidden")
            self.last = layers.Dense(1, activation="sigmoid", name="last")

        def call(self, inputs):
            return self.last(self.hidden(inputs))

    model = Regressor()
    model(np.zeros((1, 4), "float32"))
    assert {slot.name: slot.is_output for slot in find_slots(model)} == {
        "hidden": False,
        "last": True,
    }


def test_layers_of_one_name_get_names_of_their_own():
    def block(name):
        return keras.Sequential(
            [keras.Input((4,)), layers.Dense(4, activation="relu", name="d")], name=name
        )

    model = keras.Sequential([keras.Input((4,)), block("a"), block("b"), layers.Dense(1)])
    assert [slot.name for slot in find_slots(model)][:2] == ["a/d", "b/d"]


def test_a_slot_takes_another_activation_and_its_own_back():
    model = keras.Sequential([keras.Input((4,)), layers.ReLU(max_value=1.0)])
    config, (slot,) = model.get_config(), find_slots(model)
    x = np.array([[-2.0, 0.5, 3.0, 9.0]], "float32")
    before = np.array(model(x))
    slot.put(keras.activations.get("tanh"))
    np.testing.assert_allclose(model(x), np.tanh(x), rtol=1e-6)
    slot.put(None)
    np.testing.assert_array_equal(model(x), before)
    assert model.get_config() == config


def test_a_switch_applies_the_activation_that_was_chosen_last():
    switch = ActivationSwitch({name: keras.activations.get(name) for name in ("relu", "tanh")})
    x = np.array([-1.0, 2.0], "float32")
    assert switch.chosen == "relu"
    np.testing.assert_array_equal(switch(x), [0.0, 2.0])
    switch.choose("tanh")
    np.testing.assert_allclose(switch(x), np.tanh(x), rtol=1e-6)
    assert switch.chosen == "tanh"


def test_elementwise_functions_are_told_from_those_that_mix():
    assert is_elementwise(keras.activations.gelu)
    for mixing in ("softmax", "log_softmax", "sparsemax", "glu"):
        assert not is_elementwise(keras.activations.get(mixing))


def test_a_subclassed_network_has_slots_by_its_attributes():
    assert len([s for s in find_slots(subclassed()) if s.is_chosen_by_default]) == 1
