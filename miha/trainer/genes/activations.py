"""Activation slots: where a network keeps its activations, and how they are exchanged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from miha.space import OWN
from miha.trainer.genes.switches import Choice

Activation = Callable[[Any], Any]

LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
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
    layer: keras.layers.Layer
    kind: type
    own: Activation
    own_name: str
    is_output: bool
    is_recurrent: bool

    @property
    def is_chosen_by_default(self) -> bool:
        """Whether it may mutate unless the user names layers.

        Outputs and projections do not, nor what is frozen, which shall stay as it is; nor do
        activations of the user's own making in recurrent layers, since TensorFlow may be unable
        to differentiate the choice (see `_in_loop`).
        """
        is_strange = self.is_recurrent and self.own_name == OWN
        is_fixed = self.is_output or is_strange or not self.layer.trainable
        return not is_fixed and self.own_name != "linear"

    def branches(self, names: Sequence[str]) -> dict[str, Activation]:
        """Return the own activation and the named ones, by name."""
        others = [name for name in names if name != self.own_name]
        functions = {self.own_name: self.own} | {n: keras.activations.get(n) for n in others}
        return _in_loop(functions) if self.is_recurrent else functions

    def put(self, activation: Activation | None) -> None:
        """Let the layer use another activation, or its own when None is given."""
        if self.kind in LAYERS:
            # Such a layer is a special case of Activation, so it can be made one and back.
            self.layer.__class__ = self.kind if activation is None else keras.layers.Activation
        if activation is not None or self.kind not in LAYERS:
            self.layer.activation = self.own if activation is None else activation


class Switch(Choice):
    """An activation chosen at run time, in the compiled graph.

    Args:
        branches: The activations to choose from, by name.

    Attributes:
        seen: What it is called with, where a list is there to take it.
        choose_by: Applies the function of an index; a trainer may know a better way.
        past: The activation that it blends with; None where it does not.
        share: Gives its own share then, as a tensor of a dtype.
    """

    def __init__(self, branches: dict[str, Activation]) -> None:
        super().__init__(list(branches))
        self.functions = list(branches.values())
        self.seen: list[Any] | None = None
        self.choose_by: Callable[..., Any] = keras.ops.switch
        self.past: Choice | None = None
        self.share: Callable[[Any], Any] | None = None

    def __call__(self, values: Any) -> Any:
        """Apply the chosen activation."""
        if self.seen is not None:
            self.seen.append(values)
        chosen = self._apply(self, values)
        if self.past is None or self.share is None:
            return chosen
        past = self._apply(self.past, values)
        return past + self.share(past.dtype) * (chosen - past)

    def _apply(self, choice: Choice, values: Any) -> Any:
        # Outside of a program, JAX takes no variable of Keras' for a number.
        index = keras.ops.convert_to_tensor(choice.index)
        return self.choose_by(index, self.functions, values)


def find_slots(model: keras.Model, with_outputs: bool = True) -> list[Slot]:
    """Find every activation slot of a network, in its order; shared layers once.

    Args:
        model: A built network.
        with_outputs: Whether to find out which slots shape an output. Where that cannot be
            told, all may.

    Returns:
        Slots with names that are unique in the network.
    """
    outputs = output_layers(model) if with_outputs else set()
    walked = list(walk(model))
    shared = {id(layer) for _, layer, _ in walked} & {
        id(vars(layer).get("activation")) for _, layer, _ in walked
    }
    slots: dict[str, Slot] = {}
    for path, layer, is_recurrent in walked:
        own = _activation_of(layer)
        # An activation layer that others use as theirs, too, cannot be exchanged in one place.
        if own is None or {id(layer), id(own)} & shared or not is_elementwise(own):
            continue
        name, own_name = unique(path, slots), _name_of(layer, own)
        is_output = outputs is None or layer in outputs
        slots[name] = Slot(name, layer, type(layer), own, own_name, is_output, is_recurrent)
    return list(slots.values())


def output_layers(model: keras.Model) -> set[keras.layers.Layer] | None:
    """Return the layers whose activation shapes an output, down to the last with weights.

    Args:
        model: A built network. A subclassed one is called symbolically.

    Returns:
        Layers, or None where the network does not tell.
    """
    found: set[keras.layers.Layer] = set()
    try:
        for tensor in _outputs(model):
            _collect_outputs(tensor, found)
    except Exception:  # What a `call` of the user's own raises on symbolic tensors is theirs.
        return None
    return found


def is_elementwise(function: Activation) -> bool:
    """Tell whether a function treats every element by itself, unlike a softmax."""
    probe = np.linspace(-0.2, 0.2, 6, dtype="float32").reshape(1, 6)
    moved = probe.copy()
    moved[0, -1] += 0.1
    try:
        before, after = (keras.ops.convert_to_numpy(function(v)) for v in (probe, moved))
    except Exception:
        return False
    return before.shape == probe.shape and np.array_equal(before[0, :-1], after[0, :-1])


def _in_loop(functions: dict[str, Activation]) -> dict[str, Activation]:
    """Replace what cannot be chosen at run time within a loop.

    TensorFlow 2.21 cannot differentiate a `tf.switch_case` in a `tf.while_loop` when a branch
    has a gradient of its own, as `tf.nn.silu` has.
    """
    return {n: _differentiable_silu if n == "silu" else f for n, f in functions.items()}


def _differentiable_silu(values: Any) -> Any:
    return values * keras.ops.sigmoid(values)


def walk(root: keras.layers.Layer) -> Iterator[tuple[str, Any, bool]]:
    """Yield every layer below one once: its path, itself, whether it is in a recurrent one."""
    seen = {id(root)}
    counts: Counter[str] = Counter()
    stack = [("", root, child, False) for child in reversed(root._layers)]
    while stack:
        path, parent, layer, is_recurrent = stack.pop()
        # A layer that serves as another one's activation is that one's affair.
        if id(layer) in seen or layer is vars(parent).get("activation"):
            continue
        seen.add(id(layer))
        # The cell of a recurrent layer goes by that layer's path.
        if layer is not vars(parent).get("cell"):
            path = f"{path}/{_plain_name(layer, counts)}".lstrip("/")
        yield path, layer, is_recurrent
        is_recurrent = is_recurrent or isinstance(layer, keras.layers.RNN)
        stack.extend((path, layer, child, is_recurrent) for child in reversed(layer._layers))


def _plain_name(layer: keras.layers.Layer, counts: Counter[str]) -> str:
    """Return a layer's name, numbered within its network where Keras made it.

    Keras numbers by process: the same network built twice would have slots of other names.
    """
    base = re.sub(r"_\d+$", "", layer.name)
    kind = base.removeprefix("forward_").removeprefix("backward_")
    if kind.replace("_", "") != type(layer).__name__.lower():
        return str(layer.name)
    counts[base] += 1
    return base if counts[base] == 1 else f"{base}_{counts[base] - 1}"


def _activation_of(layer: keras.layers.Layer) -> Activation | None:
    """Return the activation that a layer applies, if it has one that may be exchanged."""
    if type(layer) in LAYERS:
        return layer.call  # type: ignore[no-any-return]
    activation = vars(layer).get("activation")
    if isinstance(activation, keras.layers.Layer) and type(activation) not in LAYERS:
        return None  # It may have weights, which belong to the network.
    return activation if callable(activation) else None


def _name_of(layer: keras.layers.Layer, own: Activation) -> str:
    """Return the name that Keras has for an activation, or "own"."""
    if type(layer) is keras.layers.ReLU:
        plain = (layer.max_value, float(layer.negative_slope), float(layer.threshold))
        return "relu" if plain == (None, 0.0, 0.0) else OWN
    if type(layer) is keras.layers.ELU:
        return "elu" if layer.alpha == 1.0 else OWN
    name = getattr(own, "__name__", "")
    return name if getattr(keras.activations, name, None) is own else OWN


def unique(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken yet."""
    number, unique = 2, name
    while unique in taken:
        number, unique = number + 1, f"{name}#{number}"
    return unique


def _outputs(model: keras.Model) -> list[Any]:
    """Return the symbolic outputs of a network."""
    if hasattr(model, "outputs"):
        return list(model.outputs)
    config = model.get_build_config()
    shapes = config.get("input_shape") or next(iter(config["shapes_dict"].values()))
    inputs = keras.tree.map_shape_structure(keras.KerasTensor, shapes)
    return list(keras.tree.flatten(model.call(inputs)))


def _collect_outputs(tensor: Any, found: set[keras.layers.Layer]) -> None:
    operation = tensor._keras_history.operation
    if isinstance(operation, keras.Model) and hasattr(operation, "outputs"):
        found.add(operation)
        for inner in operation.outputs:
            _collect_outputs(inner, found)
        return
    if isinstance(operation, keras.layers.Layer):
        found.update([operation, *(layer for _, layer, _ in walk(operation))])
        if operation.weights:
            return
    for source in _sources(tensor):
        _collect_outputs(source, found)


def _sources(tensor: Any) -> list[Any]:
    history = tensor._keras_history
    nodes = history.operation._inbound_nodes
    node = nodes[history.node_index]
    return [t for t in node.input_tensors if t._keras_history.operation is not history.operation]
