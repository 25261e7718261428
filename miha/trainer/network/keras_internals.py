"""Everything that MIHA uses of Keras and that Keras does not document, in one place.

Each function says why no public name serves. A new version of Keras that moves one of these
breaks `tests/trainer/network/test_keras_internals.py`, and needs a change in this file alone.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from io import BytesIO
from types import ModuleType
from typing import Any

import keras
from keras.src import ops
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib, serialization_lib

SLOTS = {
    "momentums": 1,
    "_momentums": 1,
    "_average_gradients": 1,
    "_m": 1,
    "_u": 1,
    "_velocities": 2,
    "_velocity_hats": 2,
    "_accumulators": 2,
    "_accumulated_grads": 2,
    "_accumulated_delta_vars": -2,
}
"""Where Keras' optimizers keep their slots, and the power of the gradient that each goes by."""

MOMENTS = ("_momentums", "_velocities", "_model_variables_moving_average")
"""Where optimizers of the Adam family keep what they have in common."""


# Layers.


def flat_layers(
    layer: Any,
    include_self: bool = True,
) -> list[Any]:
    """Return a layer and all below it; public `layers` lacks those that layers hold inside."""
    return list(layer._flatten_layers(include_self=include_self))


def children(layer: Any) -> list[Any]:
    """Return the layers directly below one; only a network has the public `layers`."""
    return list(layer._layers)


@contextlib.contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Let a built layer take a new variable or seed; its tracker refuses that after `build`."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


# The graph between symbolic tensors.


def maker_of(tensor: Any) -> Any:
    """Return the layer or operation that makes a symbolic tensor; there is no public name."""
    return tensor._keras_history.operation


def inputs_of_maker(tensor: Any) -> list[Any]:
    """Return the symbolic tensors that a tensor is made from; there is no public name."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return list(node.input_tensors)


def functional_of(layer: Any) -> Any:
    """Return the graph of a functional or sequential network, else None.

    A `Sequential` keeps its graph in a private attribute, and a graph its nodes.
    """
    functional = getattr(layer, "_functional", layer)
    has_graph = hasattr(functional, "_nodes_by_depth") and hasattr(functional, "outputs")
    return functional if has_graph else None


def nodes_of(functional: Any) -> Iterator[Any]:
    """Yield the calls of layers in a graph, which public attributes do not give."""
    for nodes in functional._nodes_by_depth.values():
        yield from nodes


# What a network was compiled with.


def written_settings(model: Any) -> dict[str, Any]:
    """Return what Keras has written down of the last `compile`, which has no public name."""
    settings = getattr(model, "_compile_config", None)
    return dict(settings.config) if settings else {}


def compile_settings(model: Any) -> dict[str, Any]:
    """Return the arguments of `compile` as objects, those that the network really has.

    `get_compile_config` returns them as text, and as the last `compile` was told: an optimizer
    may have been set by attribute since, saving to .h5 takes it out, and a `compile` without
    loss or metrics leaves those of the one before.
    """
    found = written_settings(model)
    if not found:
        return {}

    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    written = found.get("optimizer")
    if written is None or (written is not optimizer and written is not inner):
        found["optimizer"] = optimizer

    loss = getattr(model, "_compile_loss", None)
    if loss is not None and found.get("loss") is None:
        found["loss"] = loss._user_loss
        found["loss_weights"] = loss._user_loss_weights

    metrics = getattr(model, "_compile_metrics", None)
    is_told = found.get("metrics") is not None or found.get("weighted_metrics") is not None
    if metrics is not None and not is_told:
        found["metrics"] = metrics._user_metrics
        found["weighted_metrics"] = metrics._user_weighted_metrics
    return found


def has_slots(optimizer: Any) -> bool:
    """Return whether an optimizer is built for weights; `built` is True after an .h5 as well."""
    return bool(getattr(optimizer, "_trainable_variables", ()))


def single_loss(model: Any) -> Any:
    """Return the one loss of a network as Keras has made it; None where it has another number.

    The public `model.loss` is what the user wrote, such as a name.
    """
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None or not compiled.built:
        return None

    losses = compiled._flat_losses
    is_nested = keras.tree.is_nested(compiled._user_loss)
    return losses[0].loss if len(losses) == 1 and not is_nested else None


def build_for(model: Any, batch: Any) -> None:
    """Make the variables of metrics and optimizer; nothing public does it without a step."""
    model._symbolic_build(data_batch=batch)


def losses_by_path(model: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return each loss of a network as Keras has made it, and where its output is; none: no step.

    The public `model.loss` is what the user wrote, such as names.
    """
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None or not compiled.built:
        return []
    return [(tuple(each.path), each.loss) for each in compiled._flat_losses]


def replace_single_loss(model: Any, loss: Any) -> None:
    """Exchange the one loss; `compile` would reset metrics and compiled functions too."""
    losses = model._compile_loss._flat_losses
    losses[0] = losses[0]._replace(loss=loss)


def loss_settings(loss: Any) -> dict[str, Any]:
    """Return the arguments of a loss function; `get_config` lacks some and renames others."""
    return dict(loss._fn_kwargs)


def metric_direction(metric: Any) -> str | None:
    """Return ``"up"`` or ``"down"``, as Keras' callbacks read it; there is no public name."""
    return getattr(metric, "_direction", None)


# Optimizers.


def all_iterations(optimizer: Any) -> Any:
    """Return the count of batches; public `iterations` leaves accumulated ones out."""
    return optimizer._iterations


def averages(optimizer: Any) -> list[Any]:
    """Return the averages of weights (`use_ema`), which have no public name."""
    return list(optimizer._model_variables_moving_average)


def learning_rate_source(optimizer: Any) -> Any:
    """Return the schedule or variable; public `learning_rate` is its value of now."""
    return optimizer._learning_rate


def moment_pairs(
    before: Any,
    after: Any,
) -> Iterator[tuple[Any, Any]]:
    """Yield (source, target) of what two optimizers of the Adam family keep alike.

    Slots have no public name: `variables` mixes them, in an order of each class.
    """
    for name in MOMENTS:
        sources = getattr(before, name, ())
        targets = getattr(after, name, ())
        yield from zip(sources, targets, strict=False)

    # AMSGrad keeps the largest of the velocities so far: at first, that is the present one.
    largest = getattr(after, "_velocity_hats", ())
    yield from zip(before._velocities, largest, strict=False)


def nadam_product(optimizer: Any) -> Any:
    """Return the product of Nadam's momentum schedule so far, which has no public name."""
    return optimizer._u_product


def slots_of(
    optimizer: Any,
    weight: Any,
) -> list[tuple[Any, int]]:
    """Return the slots of a weight, and the power of its gradient that each goes by.

    Slots have no public name: `variables` mixes them, in an order of each class.
    """
    places = [id(trained) for trained in optimizer._trainable_variables]
    if id(weight) not in places:
        return []

    place = places.index(id(weight))
    found = []
    for name, power in SLOTS.items():
        slots = getattr(optimizer, name, ())
        is_complete = len(slots) == len(places)
        if is_complete and slots[place].shape == weight.shape:
            found.append((slots[place], power))
    return found


def is_excluded_from_decay(optimizer: Any, weight: Any) -> bool:
    """Return whether weight decay leaves a weight out, as Keras decides; nothing public says it."""
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    if pattern is not None and pattern.search(weight.name) is not None:
        return True
    keys: Iterable[Any] = getattr(optimizer, "_exclude_from_weight_decay", ())
    return optimizer._var_key(weight) in keys


# Saving and memory.


def save_network(model: Any, file: BytesIO) -> None:
    """Write an archive to memory; public `save` takes paths, and a full disk destroys the file."""
    saving_lib.save_model(model, file)

    # Keras 3.15 remembers an optimizer's attributes under one name and looks for them under
    # another: each saving would make one more optimizer, 0.07 MB that are never freed.
    remembered = global_state.get_global_attribute("saving_attr_skipset_Optimizer")
    global_state.set_global_attribute("saving_attr_skiplist_Optimizer", remembered)


def load_network(
    file: BytesIO,
    custom_objects: dict[str, Any] | None,
    safe_mode: bool,
) -> Any:
    """Read an archive from memory; public `load_model` takes paths only."""
    return saving_lib.load_model(
        file,
        custom_objects=custom_objects,
        safe_mode=safe_mode,
    )


def load_configuration(model: Any, custom_objects: dict[str, Any] | None) -> Any:
    """Return what the configuration in a network's archive makes: untrained, not compiled.

    The public functions do not know a layer that is another one's activation, too; archives do.
    """
    with serialization_lib.ObjectSharingScope():
        config = keras.saving.serialize_keras_object(model)
    text = json.dumps(config)
    return saving_lib._model_from_config(
        text,
        custom_objects,
        compile=False,
        safe_mode=False,
    )


def seed_dtype() -> str:
    """Return the type of a random seed on this backend; only `keras.src` says it."""
    from keras.src import backend

    return str(backend.random_seed_dtype())


def layer_ops() -> ModuleType:
    """Return the module through which layers call operations; `keras.ops` is a copy of it."""
    module: ModuleType = ops
    return module


def is_torch_meta() -> bool:
    """Return whether PyTorch works shapes out without making arrays; nothing public says it."""
    from keras.src.backend.torch.core import get_device

    return bool(get_device() == "meta")
