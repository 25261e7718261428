"""Copies of Keras networks, and their archives, in memory.

The public functions of Keras write to paths alone, and `model.save` onto a file destroys it when
the disk is full: hence ``keras.src``, here only.
"""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib

from miha.errors import ArgumentError, first_line
from miha.trainer.genes.optimizers import inner
from miha.trainer.network.custom_layers import culprit, custom_objects, is_custom


def to_bytes(model: keras.Model) -> bytes:
    """Return the Keras v3 archive of a network."""
    buffer = io.BytesIO()
    saving_lib.save_model(model, buffer)
    _find_again()
    return buffer.getvalue()


def from_bytes(
    archive: bytes, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True
) -> keras.Model:
    """Return the network of a Keras v3 archive.

    Args:
        archive: The archive's bytes.
        custom_objects: Classes and functions that the archive names and Keras does not know.
        safe_mode: Whether to refuse what would run code from the archive.
    """
    buffer = io.BytesIO(archive)
    with random_state():
        return saving_lib.load_model(buffer, custom_objects=custom_objects, safe_mode=safe_mode)


def rebuild(model: keras.Model, known: dict[str, Any]) -> keras.Model:
    """Return what an archive of a network would be loaded as, seed states included."""
    twin = reload(model, known)
    _check_held(twin, model)
    _check_frozen(twin, model)
    _assign(twin.variables, model.variables)
    return twin


def reload(model: keras.Model, known: dict[str, Any]) -> keras.Model:
    """Return what an archive of a network would be loaded as."""
    with warnings.catch_warnings():
        # An optimizer that has not trained yet has no state to load.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        # The user's own live network: its Lambda layers are trusted.
        return from_bytes(to_bytes(model), known, safe_mode=False)


def copy(model: keras.Model, known: dict[str, Any]) -> keras.Model:
    """Return a network equal to a built and compiled one, seed and optimizer states included.

    Args:
        model: The network.
        known: Its custom objects.

    Raises:
        ArgumentError: The network cannot be serialised; the message names the part.
    """
    try:
        twin = rebuild(model, known)
        _check_compiled(twin)
        _restore_loss_scaling(twin, model)
        _check_exclusions(twin, model)
        if model.optimizer.built:
            _assign(twin.optimizer.variables, model.optimizer.variables)
    except Exception as error:
        with random_state():
            part = culprit(model, known)
        raise ArgumentError(_not_serialisable(model, part, first_line(error))) from error
    return twin


def check_same_function(model: keras.Model, twin: keras.Model, x: Any) -> None:
    """Raise unless a copy computes what the network computes.

    Args:
        model: The network; its values are left as they are.
        twin: The copy.
        x: A few inputs.

    Raises:
        ArgumentError: The configuration of a class does not tell all that it does.
    """
    try:
        expected = call(model, x)
    except Exception:  # The network does not accept the data, which its first step tells better.
        return
    try:
        reason = "" if is_same(expected, call(twin, x)) else "it computes something else then."
    except Exception as error:
        reason = first_line(error)
    if reason:
        raise ArgumentError(_not_serialisable(model, _last_custom(model), reason))


def _last_custom(model: keras.Model) -> str:
    """Name the last layer whose configuration was written by somebody else than Keras."""
    custom = [layer for layer in model._flatten_layers() if is_custom(type(layer))]
    names = [f"layer {layer.name!r} ({type(layer).__name__})" for layer in custom]
    return names[-1] if names else f"class {type(model).__name__}"


def call(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Return a network's outputs, and leave every value (of seeds, say) as it was."""
    with untouched(model):
        return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x))]


@contextlib.contextmanager
def untouched(model: keras.Model) -> Iterator[None]:
    """Leave a network's values as they were."""
    variables = list(model.variables)  # Those of today: a layer may make more when it is called.
    before = values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            if not np.array_equal(keras.ops.convert_to_numpy(variable), value):
                variable.assign(value)


def values(variables: list[Any]) -> tuple[np.ndarray, ...]:
    """Copy the values of variables."""
    return tuple(np.array(keras.ops.convert_to_numpy(variable)) for variable in variables)


def is_same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Tell whether outputs are equal but for rounding."""
    pairs = [[a.astype("float64") for a in pair] for pair in zip(first, second, strict=True)]
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs)


def build_from(model: keras.Model, x: Any, seed: int) -> keras.Model:
    """Return a built copy of a network that has not seen data yet.

    Args:
        model: A compiled network without weights, but for layers that were built before.
        x: A few inputs.
        seed: Decides the fresh weights.

    Raises:
        ArgumentError: The network cannot be built from ``x``.
    """
    try:
        with random_state(seed):
            config = keras.saving.serialize_keras_object(model)
            known = custom_objects(model)
            twin = keras.saving.deserialize_keras_object(config, known, safe_mode=False)
            twin(x)
        _check_flags(model, twin)
        _copy_built_layers(model, twin)
    except Exception as error:
        raise ArgumentError(
            "The network must be built, or such that it can be built from `x`. "
            f"Received: {model.name!r}, which is not: {first_line(error)} "
            "Call the network on a batch of data first, or give it a `keras.Input`."
        ) from error
    return twin


@contextlib.contextmanager
def random_state(seed: int | None = None) -> Iterator[None]:
    """Leave Python's `random` as it was: Keras takes the seeds of initializers from it.

    Args:
        seed: Decides what Keras takes meanwhile.
    """
    state = random.getstate()
    if seed is not None:
        random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _find_again() -> None:
    """Let Keras find what it has remembered of an optimizer's attributes.

    Keras 3.15 stores it under one name and looks for it under another: each saving then makes an
    optimizer anew, 0.07 MB that are never freed.
    """
    remembered = global_state.get_global_attribute("saving_attr_skipset_Optimizer")
    global_state.set_global_attribute("saving_attr_skiplist_Optimizer", remembered)


def _layers(network: keras.Model) -> list[Any]:
    """Return a network's layers but inputs: a Sequential gets one when it is built."""
    layers = network._flatten_layers(include_self=False)
    return [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]


def _copy_built_layers(model: keras.Model, twin: keras.Model) -> None:
    """Copy what the layers of an unbuilt network hold already: adapted or pretrained ones."""
    for source, target in zip(*map(_layers, (model, twin)), strict=True):
        if source.built:
            store: dict[str, Any] = {}
            source.save_own_variables(store)
            target.load_own_variables({k: keras.ops.convert_to_numpy(v) for k, v in store.items()})
            if hasattr(source, "save_assets"):
                with tempfile.TemporaryDirectory() as folder:
                    source.save_assets(folder)
                    target.load_assets(folder)


def _check_flags(model: keras.Model, twin: keras.Model) -> None:
    """Raise unless the layers of an unbuilt network are frozen in its copy, too."""
    for source, target in zip(*map(_layers, (model, twin)), strict=True):
        if source.trainable != target.trainable:
            raise ValueError(
                f"layer {source.name!r} is {'trained' if source.trainable else 'frozen'}, and is "
                "otherwise when the network is made from its configuration: set `trainable` in "
                "the constructor of your class."
            )


def _check_held(twin: keras.Model, model: keras.Model) -> None:
    """Raise unless an archive has given back every weight: a run goes on from archives."""
    if len(twin.weights) == len(model.weights):  # Others are told by `_assign`.
        pairs = zip(values(twin.weights), values(model.weights), model.weights, strict=True)
        for found, value, weight in pairs:
            if found.shape == value.shape and not _is_equal(found, value):
                raise ValueError(
                    f"{weight.path!r} has another value when loaded; does its layer save it?"
                )


def _check_frozen(twin: keras.Model, model: keras.Model) -> None:
    """Raise unless what is frozen is so when loaded: Keras archives no flag of a layer's layers."""
    if len(twin.variables) == len(model.variables):
        trained, loaded = ({id(v) for v in n.trainable_variables} for n in (model, twin))
        for held, found in zip(model.variables, twin.variables, strict=True):
            if (id(held) in trained) != (id(found) in loaded):
                how = "frozen" if id(found) in loaded else "trained"
                raise ValueError(
                    f"{held.path!r} is {how}, and is otherwise when loaded: Keras does not store "
                    "that of a single weight, nor of layers within a layer such as attention. "
                    "Freeze whole layers of a functional network, or do it in the constructor of "
                    "a class of your own."
                )


def _check_exclusions(twin: keras.Model, model: keras.Model) -> None:
    """Raise unless a weight that does not decay does not when loaded."""
    optimizers = [inner(network.optimizer) for network in (model, twin)]
    if optimizers[0].weight_decay is None:
        return
    for held, found in zip(model.trainable_variables, twin.trainable_variables, strict=True):
        if _is_excluded(optimizers[0], held) and not _is_excluded(optimizers[1], found):
            raise ValueError(
                f"{held.path!r} is excluded from weight decay, and is not when loaded. Call "
                "`exclude_from_weight_decay` in the constructor of an optimizer of your own."
            )


def _is_excluded(optimizer: Any, variable: Any) -> bool:
    """Tell whether an optimizer leaves a variable without weight decay, as Keras decides it."""
    names = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    keys: set[Any] = getattr(optimizer, "_exclude_from_weight_decay", set())
    is_named = names is not None and names.search(variable.name) is not None
    return is_named or optimizer._var_key(variable) in keys


def _is_equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether values are the same; NaN is as good as any other."""
    return first.tobytes() == second.tobytes()


def _check_compiled(twin: keras.Model) -> None:
    if not twin.compiled or getattr(twin, "optimizer", None) is None:
        raise ValueError(
            "it is not compiled when loaded, since its `compile` is its own. "
            "Give it a `get_compile_config` and a `compile_from_config`."
        )


def _restore_loss_scaling(twin: keras.Model, model: keras.Model) -> None:
    """Wrap the optimizer as the user's is: loading does so by the global dtype policy only."""
    scaling = keras.optimizers.LossScaleOptimizer
    if isinstance(model.optimizer, scaling) and not isinstance(twin.optimizer, scaling):
        config = {**model.optimizer.get_config(), "inner_optimizer": twin.optimizer}
        twin.optimizer = scaling(**config)
        twin.optimizer.build(twin.trainable_variables)


def _assign(targets: list[Any], sources: list[Any]) -> None:
    shapes = [[tuple(v.shape) for v in variables] for variables in (targets, sources)]
    if shapes[0] != shapes[1]:
        raise ValueError("the loaded network has other variables than the saved one.")
    # Copied: JAX would share the memory, and give it away when the network trains in `fit`.
    for target, value in zip(targets, values(sources), strict=True):
        target.assign(value)


def _not_serialisable(model: keras.Model, part: str, reason: str) -> str:
    return (
        "The network must survive being saved and loaded by Keras, since every network of a run "
        f"is archived. Received: {model.name!r}, whose {part} does not: {reason} "
        "Give a class a `get_config` that returns all arguments of its constructor; write anything "
        "else as a class or as a named function."
    )
