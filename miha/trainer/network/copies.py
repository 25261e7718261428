"""Copies of Keras networks, and their archives, in memory."""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import Model
from keras.ops import convert_to_numpy

from miha.errors import ArgumentError, first_line
from miha.trainer.genes.optimizers import inner
from miha.trainer.network.compilation import (
    check_same,
    nameless,
    put_back,
    written_as_it_is,
)
from miha.trainer.network.custom_layers import culprit, is_custom
from miha.trainer.network.keras_internals import (
    flat_layers,
    has_slots,
    is_excluded_from_decay,
    load_configuration,
    load_network,
    save_network,
)

Known = dict[str, Any]
"""Classes and functions of the user's, by name."""

Arrays = tuple[np.ndarray, ...]


def to_bytes(model: Model) -> bytes:
    """Return the Keras v3 archive of a network."""
    buffer = io.BytesIO()
    with written_as_it_is(model):
        save_network(model, buffer)
    return buffer.getvalue()


def configuration(model: Model) -> dict[str, Any]:
    """Return the configuration of a network, which says how it is compiled."""
    with written_as_it_is(model):
        config: dict[str, Any] = keras.saving.serialize_keras_object(model)
    return config


def from_bytes(
    archive: bytes,
    custom_objects: Known | None = None,
    safe_mode: bool = True,
) -> Model:
    """Return the network of a Keras v3 archive.

    Args:
        archive: The archive's bytes.
        custom_objects: Classes and functions that the archive names and Keras does not know.
        safe_mode: Whether to refuse what would run code from the archive.
    """
    with random_state():
        return load_network(io.BytesIO(archive), custom_objects, safe_mode)


def serialize(model: Model, known: Known) -> bytes:
    """Return the archive of a user's network; an error names the part that stands in the way."""
    with _explained(model, known):
        return to_bytes(model)


def copy(
    model: Model,
    known: Known,
    archive: bytes,
) -> Model:
    """Return a network equal to a built and compiled one, seed and optimizer states included.

    Args:
        model: The network.
        known: Its custom objects.
        archive: Its archive, as `serialize` returns it.

    Raises:
        ArgumentError: The network does not survive being saved and loaded; the message names the
            part.
    """
    with _explained(model, known):
        twin = _load(archive, known)
        _assign_weights(twin, model)
        _check_compiled(twin)
        put_back(twin, nameless(model))
        _restore_loss_scaling(twin, model)
        check_same(twin, model)
        _check_exclusions(twin, model)
        if has_slots(model.optimizer):
            _assign(twin.optimizer.variables, model.optimizer.variables)
        return twin


def rebuild(model: Model, known: Known) -> Model:
    """Return what an archive of a network would be loaded as, seed states included."""
    twin = _load(to_bytes(model), known)
    _assign_weights(twin, model)
    return twin


def reconfigure(model: Model, known: Known) -> Model:
    """Return a network of the same configuration: with other weights, and not compiled.

    It tells what an archive holds beside weights, in half the time of one.
    """
    with random_state(), written_as_it_is(model):
        return load_configuration(model, known)


def _load(archive: bytes, known: Known) -> Model:
    with warnings.catch_warnings():
        # An optimizer that has not trained yet has no state to load.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        # The user's own live network: its Lambda layers are trusted.
        return from_bytes(archive, known, safe_mode=False)


@contextlib.contextmanager
def _explained(
    model: Model,
    known: Known,
) -> Iterator[None]:
    """Turn any error of saving and loading into one that names the part at fault."""
    try:
        yield
    except Exception as error:
        with random_state():
            part = culprit(model, known)
        text = _not_serialisable(model, part, first_line(error))
        raise ArgumentError(text) from error


def check_same_function(
    model: Model,
    twin: Model,
    x: Any,
) -> None:
    """Raise unless a copy computes what the network computes from a few inputs.

    It does not where the configuration of a class does not tell all that the class does.
    """
    try:
        expected = call(model, x)
    except Exception:  # The network does not accept the data: its first step says that better.
        return

    try:
        is_equal = is_same(expected, call(twin, x))
        reason = "" if is_equal else "it computes something else then."
    except Exception as error:
        reason = first_line(error)
    if reason:
        raise ArgumentError(_not_serialisable(model, _last_custom(model), reason))


def _last_custom(model: Model) -> str:
    """Name the last layer whose configuration was written by somebody else than Keras."""
    for layer in reversed(flat_layers(model)):
        if is_custom(type(layer)):
            return f"layer {layer.name!r} ({type(layer).__name__})"
    return f"class {type(model).__name__}"


def call(model: Model, x: Any) -> Arrays:
    """Return a network's outputs, and leave every value (of seeds, say) as it was."""
    with untouched(model):
        outputs = keras.tree.flatten(model(x))
        return tuple(convert_to_numpy(output) for output in outputs)


@contextlib.contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Leave a network's values as they were."""
    # Listed before: a layer may make more variables when it is called.
    variables = list(model.variables)
    before = values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            now = convert_to_numpy(variable)
            if not np.array_equal(now, value):
                variable.assign(value)


def values(variables: list[Any]) -> Arrays:
    """Copy the values of variables."""
    arrays = map(convert_to_numpy, variables)
    return tuple(np.array(array) for array in arrays)


def is_same(first: Arrays, second: Arrays) -> bool:
    """Return whether outputs are equal but for rounding."""
    close = partial(np.allclose, rtol=1e-3, atol=1e-5, equal_nan=True)
    pairs = zip(first, second, strict=True)
    return all(close(a.astype("float64"), b.astype("float64")) for a, b in pairs)


def build_from(
    model: Model,
    x: Any,
    seed: int,
    known: Known,
) -> Model:
    """Return a built copy of a network that has not seen data yet.

    Args:
        model: A compiled network without weights, but for layers that were built before.
        x: A few inputs.
        seed: Decides the fresh weights.
        known: The network's custom objects.

    Raises:
        ArgumentError: The network cannot be built from ``x``, or not be made from its
            configuration.
    """
    with random_state(seed):
        with _explained(model, known):
            config = configuration(model)
            twin = keras.saving.deserialize_keras_object(config, known, safe_mode=False)
        _build(twin, model, x)
    return twin


def _build(twin: Model, model: Model, x: Any) -> None:
    """Build a copy as its network would be; see `build_from`."""
    try:
        twin(x)
        put_back(twin, nameless(model))
        _copy_built_layers(model, twin)
    except Exception as error:
        raise ArgumentError(
            "The network must be built, or such that it can be built from `x`. "
            f"Received: {model.name!r}, which is not: {first_line(error)} "
            "Call the network on a batch of data first, or give it a `keras.Input`."
        ) from error


@contextlib.contextmanager
def random_state(
    seed: int | None = None,
) -> Iterator[None]:
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


def _copy_built_layers(model: Model, twin: Model) -> None:
    """Copy what the layers of an unbuilt network hold already: adapted or pretrained ones."""
    sources = _inner_layers(model)
    targets = _inner_layers(twin)
    for source, target in zip(sources, targets, strict=True):
        _check_flag(source, target)

    for source, target in zip(sources, targets, strict=True):
        if not source.built:
            continue
        store: dict[str, Any] = {}
        source.save_own_variables(store)
        for key, value in store.items():
            store[key] = convert_to_numpy(value)
        target.load_own_variables(store)
        if hasattr(source, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                source.save_assets(folder)
                target.load_assets(folder)


def _inner_layers(network: Model) -> list[Any]:
    """Return a network's layers but inputs: a Sequential gets one when it is built."""
    kind = keras.layers.InputLayer
    layers = flat_layers(network, include_self=False)
    return [layer for layer in layers if not isinstance(layer, kind)]


def _check_flag(source: Any, target: Any) -> None:
    """Raise unless a layer of an unbuilt network is frozen in its copy, too."""
    if source.trainable != target.trainable:
        raise ValueError(
            f"layer {source.name!r} is {'trained' if source.trainable else 'frozen'}, and is "
            "otherwise when the network is made from its configuration: set `trainable` in "
            "the constructor of your class."
        )


def _assign_weights(twin: Model, model: Model) -> None:
    """Give a loaded network all values, after a check that loading it loses nothing."""
    _check_weights(twin, model)
    _check_frozen(twin, model)
    _assign(twin.variables, model.variables)


def _check_weights(twin: Model, model: Model) -> None:
    """Raise unless an archive has given back every weight: a run goes on from archives."""
    if len(twin.weights) != len(model.weights):
        return  # `_assign` says that.

    loaded = values(twin.weights)
    own = values(model.weights)
    for found, value, weight in zip(loaded, own, model.weights, strict=True):
        # As bytes: NaN is as good as any other value.
        is_equal = found.tobytes() == value.tobytes()
        if found.shape == value.shape and not is_equal:
            raise ValueError(
                f"{weight.path!r} has another value when loaded; does its layer save it?"
            )


def _check_frozen(twin: Model, model: Model) -> None:
    """Raise unless what is frozen is so when loaded: Keras archives no flag of a layer's layers."""
    if len(twin.variables) != len(model.variables):
        return  # `_assign` says that.

    trained = {id(variable) for variable in model.trainable_variables}
    loaded = {id(variable) for variable in twin.trainable_variables}
    for variable, found in zip(model.variables, twin.variables, strict=True):
        was_trained = id(variable) in trained
        is_trained = id(found) in loaded
        if was_trained != is_trained:
            how = "trained" if was_trained else "frozen"
            raise ValueError(
                f"{variable.path!r} is {how}, and is otherwise when loaded: Keras does not store "
                "that of a single weight, nor of layers within a layer such as attention. "
                "Freeze whole layers of a functional network, or do it in the constructor of "
                "a class of your own."
            )


def _check_exclusions(twin: Model, model: Model) -> None:
    """Raise unless a weight that does not decay does not when loaded."""
    own = inner(model.optimizer)
    loaded = inner(twin.optimizer)
    if own.weight_decay is None:
        return

    pairs = zip(model.trainable_variables, twin.trainable_variables, strict=True)
    for weight, found in pairs:
        was_excluded = is_excluded_from_decay(own, weight)
        if was_excluded and not is_excluded_from_decay(loaded, found):
            raise ValueError(
                f"{weight.path!r} is excluded from weight decay, and is not when loaded. Call "
                "`exclude_from_weight_decay` in the constructor of an optimizer of your own."
            )


def _check_compiled(twin: Model) -> None:
    if not twin.compiled or getattr(twin, "optimizer", None) is None:
        raise ValueError(
            "it is not compiled when loaded, since its `compile` is its own. "
            "Give it a `get_compile_config` and a `compile_from_config`."
        )


def _restore_loss_scaling(twin: Model, model: Model) -> None:
    """Wrap the optimizer as the user's is: loading does so by the global dtype policy only."""
    scaling = keras.optimizers.LossScaleOptimizer
    was_scaled = isinstance(model.optimizer, scaling)
    if was_scaled and not isinstance(twin.optimizer, scaling):
        config = model.optimizer.get_config()
        config["inner_optimizer"] = twin.optimizer
        twin.optimizer = scaling(**config)
        twin.optimizer.build(twin.trainable_variables)


def _assign(
    targets: list[Any],
    sources: list[Any],
) -> None:
    wanted = [tuple(variable.shape) for variable in sources]
    found = [tuple(variable.shape) for variable in targets]
    if found != wanted:
        raise ValueError("the loaded network has other variables than the saved one.")

    # Copied: JAX would share the memory, and give it away when the network trains in `fit`.
    for target, value in zip(targets, values(sources), strict=True):
        target.assign(value)


def _not_serialisable(
    model: Model,
    part: str,
    reason: str,
) -> str:
    return (
        "The network must survive being saved and loaded by Keras, since every network of a run "
        f"is archived. Received: {model.name!r}, whose {part} does not: {reason} "
        "Give a class a `get_config` that returns all arguments of its constructor, and let that "
        "pass `**kwargs` on to `super().__init__`; write anything else as a class or as a named "
        "function."
    )
