"""Activation slots: where a network keeps its activations, and how they are exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import Model, layers
from keras.ops import convert_to_numpy

from miha.errors import ArgumentError
from miha.space import OWN
from miha.trainer.genes.switches import Switch
from miha.trainer.network.layer_tree import Place, output_layers, unique, walk
from miha.utils.suggest import did_you_mean

Activation = Callable[[Any], Any]
Functions = dict[str, Activation]
"""Activations by name."""

LAYERS = (layers.ReLU, layers.LeakyReLU, layers.ELU)
"""Layers that are an activation: exchanged, they become a `keras.layers.Activation`."""


@dataclass(frozen=True)
class Slot:
    """A place in one network that holds an elementwise activation.

    Attributes:
        name: Path of the layer in the network, e.g. ``"encoder/dense"``; names that Keras made
            are numbered within the network.
        layer: The layer.
        kind: The layer's class as the user built it.
        own: The user's activation.
        own_name: Its Keras name, or ``"own"``.
        is_output: Whether the layer shapes an output of the network.
        is_recurrent: Whether the layer is applied in the loop of a recurrent layer.
    """

    name: str
    layer: layers.Layer
    kind: type
    own: Activation
    own_name: str
    is_output: bool
    is_recurrent: bool

    @property
    def is_chosen_by_default(self) -> bool:
        """Whether it may mutate unless the user names layers.

        Outputs, projections and frozen layers stay as they are. So do a user's own activations in
        recurrent layers: TensorFlow may be unable to differentiate the choice (see `_in_loop`).
        """
        if self.is_output or self.own_name == "linear" or not self.layer.trainable:
            return False
        return not (self.is_recurrent and self.own_name == OWN)

    def branches(self, names: Sequence[str]) -> Functions:
        """Return the own activation and the named ones, by name."""
        functions = {self.own_name: self.own}
        for name in names:
            if name != self.own_name:
                functions[name] = keras.activations.get(name)
        return _in_loop(functions) if self.is_recurrent else functions

    def put(self, activation: Activation | None) -> None:
        """Let the layer use another activation, or its own when None is given."""
        is_layer = self.kind in LAYERS
        if is_layer:
            # Such a layer is a special case of Activation, so it can be made one and back.
            is_user_code = activation is None
            self.layer.__class__ = self.kind if is_user_code else layers.Activation

        if activation is not None:
            self.layer.activation = activation
        elif not is_layer:
            self.layer.activation = self.own


class ActivationSwitch(Switch):
    """An activation chosen at run time, in the compiled graph.

    Args:
        branches: The activations to choose from, by name.

    Attributes:
        seen: Collects the inputs, where it is a list.
        choose_by: Applies the function of an index; a trainer may know a better way.
        past: The activation that it blends with; None where it does not blend.
        share: Returns the share of the chosen one in the blend, as a tensor of a dtype.
    """

    def __init__(self, branches: Functions) -> None:
        super().__init__(list(branches))
        self.functions = list(branches.values())
        self.seen: list[Any] | None = None
        self.choose_by: Callable[..., Any] = keras.ops.switch
        self.past: Switch | None = None
        self.share: Callable[[Any], Any] | None = None

    def __call__(self, values: Any) -> Any:
        """Apply the chosen activation."""
        if self.seen is not None:
            self.seen.append(values)

        chosen = self._apply(self, values)
        if self.past is None or self.share is None:
            return chosen

        past = self._apply(self.past, values)
        share = self.share(past.dtype)
        return past + share * (chosen - past)

    def _apply(
        self,
        switch: Switch,
        values: Any,
    ) -> Any:
        if switch.traced is not None:
            only = self.functions[self.options.index(switch.traced)]
            return only(values)
        # Outside a compiled program, JAX does not take a variable of Keras for a number.
        index = keras.ops.convert_to_tensor(switch.index)
        return self.choose_by(index, self.functions, values)


def find_slots(
    model: Model,
    with_outputs: bool = True,
) -> list[Slot]:
    """Find every activation slot of a built network, in its order; shared layers once.

    Args:
        model: The network.
        with_outputs: Whether to find out which slots shape an output.
    """
    slots = slots_among(list(walk(model)))
    return mark_outputs(slots, output_layers(model)) if with_outputs else slots


def slots_among(
    places: Sequence[Place],
) -> list[Slot]:
    """Return the slots among the layers of a network; none is marked as an output."""
    found = {id(place.layer) for place in places}
    activations = [vars(place.layer).get("activation") for place in places]
    shared = found & {id(activation) for activation in activations}

    slots: dict[str, Slot] = {}
    for place in places:
        layer = place.layer
        own = _activation_of(layer)
        # An activation layer that other layers use too cannot be exchanged in one place.
        is_shared = bool(shared & {id(layer), id(own)})
        if own is None or is_shared or not is_elementwise(own):
            continue

        name = unique(place.path, slots)
        slots[name] = Slot(
            name=name,
            layer=layer,
            kind=type(layer),
            own=own,
            own_name=_name_of(layer, own),
            is_output=False,
            is_recurrent=place.is_recurrent,
        )
    return list(slots.values())


def mark_outputs(
    slots: Iterable[Slot],
    outputs: set[Any] | None,
) -> list[Slot]:
    """Return slots that know whether they shape an output; where nothing is known, all may."""
    marked = []
    for slot in slots:
        is_output = outputs is None or slot.layer in outputs
        marked.append(replace(slot, is_output=is_output))
    return marked


def is_elementwise(function: Activation) -> bool:
    """Return whether a function treats every element by itself, unlike a softmax."""
    probe = np.linspace(-0.2, 0.2, 6, dtype="float32")[None]
    moved = probe.copy()
    moved[0, -1] += 0.1
    try:
        before = convert_to_numpy(function(probe))
        after = convert_to_numpy(function(moved))
    except Exception:  # A function of the user's may raise anything.
        return False
    if before.shape != probe.shape:
        return False
    # Only the last element may differ.
    return np.array_equal(before[0, :-1], after[0, :-1])


def check_activations(
    names: Sequence[str],
) -> tuple[str, ...]:
    """Return Keras' own names of elementwise activations, or raise where there is none."""
    found = []
    for name in names:
        try:
            function = keras.activations.get(name)
        except ValueError:
            function = None
        if function is None or not is_elementwise(function):
            raise ArgumentError(
                "An activation must be the name of an elementwise function of "
                f"`keras.activations`. Received: {name!r}.{_meant(name)} "
                "Examples: 'relu', 'tanh', 'gelu'."
            )
        found.append(function.__name__)
    return tuple(dict.fromkeys(found))


def _meant(name: str) -> str:
    """Ask for the nearest name; one that exists and is not elementwise is no slip."""
    known = list(vars(keras.activations))
    return "" if name in known else did_you_mean(name, known)


def _in_loop(functions: Functions) -> Functions:
    """Replace what cannot be chosen at run time within a loop.

    TensorFlow 2.21 cannot differentiate a `tf.switch_case` in a `tf.while_loop` when a branch
    has a gradient of its own, as `tf.nn.silu` has.
    """
    if "silu" not in functions:
        return functions
    return functions | {"silu": _differentiable_silu}


def _differentiable_silu(values: Any) -> Any:
    return values * keras.ops.sigmoid(values)


def _activation_of(layer: layers.Layer) -> Activation | None:
    """Return the activation that a layer applies, if it has one that may be exchanged."""
    if type(layer) in LAYERS:
        return layer.call  # type: ignore[no-any-return]

    activation = vars(layer).get("activation")
    is_layer = isinstance(activation, layers.Layer)
    # Any other layer may have weights, which belong to the network.
    if is_layer and type(activation) not in LAYERS:
        return None
    return activation if callable(activation) else None


def _name_of(
    layer: layers.Layer,
    own: Activation,
) -> str:
    """Return the name that Keras has for an activation, or "own"."""
    if type(layer) is layers.ReLU:
        is_plain = layer.negative_slope == 0.0 and layer.threshold == 0.0
        return "relu" if is_plain and layer.max_value is None else OWN
    if type(layer) is layers.ELU:
        return "elu" if layer.alpha == 1.0 else OWN

    name = getattr(own, "__name__", "")
    return name if getattr(keras.activations, name, None) is own else OWN
