"""What tells this data and this network from others, in every process alike."""

from __future__ import annotations

import codecs
import hashlib
import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from types import MethodType
from typing import Any

import keras
import numpy as np

from miha.data.arrays import Data
from miha.data.stream import Stream
from miha.trainer.genes.optimizers import inner
from miha.trainer.network.copies import values
from miha.trainer.network.custom_layers import custom_objects
from miha.utils.code_digest import digest
from miha.utils.json_values import plain

_CONNECTIONS = ("input_layers", "output_layers", "keras_history")
"""Where a configuration names layers."""

_BY_NAME = ("loss", "loss_weights", "metrics", "weighted_metrics")
"""Where outputs' names are the keys."""


def fingerprint(
    network: keras.Model, training: Data | Stream, validation: Data | Stream | None = None
) -> dict[str, str]:
    """Return checksums of the data, and of a network's layers, weights and compilation.

    Args:
        network: A built and compiled network.
        training: Training data.
        validation: Validation data.
    """
    layers = keras.saving.serialize_keras_object(network)
    layers.pop("compile_config", None)
    compiled = network.get_compile_config()
    objects = sorted(custom_objects(network).items())
    own = [[name, digest(thing)] for name, thing in objects if not _is_told_elsewhere(thing)]
    return {
        "data": _checksum_data(training, validation),
        "layers": _checksum_text(layers),
        "compiled": _checksum_text(compiled),
        "weights": _checksum([*values(network.weights), *_trained_slots(network)]),
        "code": hashlib.sha256(
            json.dumps([own, *_lambdas([layers, compiled])]).encode()
        ).hexdigest(),
    }


def _names(config: Any) -> Iterator[str]:
    """Yield all names of parts: Keras numbers them by process, so they tell nothing."""
    items = config.values() if isinstance(config, Mapping) else config
    if isinstance(config, Mapping) and isinstance(config.get("name"), str):
        yield config["name"]
    for item in items:
        if isinstance(item, (Mapping, list, tuple)):
            yield from _names(item)


def _is_told_elsewhere(thing: Any) -> bool:
    """Tell whether a function is a Lambda's, or what Keras wraps around a layer's `build`."""
    is_wrapper = isinstance(getattr(thing, "__wrapped__", None), MethodType)
    return is_wrapper or getattr(thing, "__name__", "") == "<lambda>"


def _trained_slots(network: keras.Model) -> tuple[np.ndarray, ...]:
    """Return the state of an optimizer that has trained; a fresh one may not be built yet."""
    optimizer = network.optimizer
    trained = optimizer.built and keras.ops.convert_to_numpy(inner(optimizer).iterations) > 0
    return values(optimizer.variables) if trained else ()


def _canonical(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    """Return a configuration without what differs from process to process.

    Args:
        value: A part of the configuration.
        names: What stands for each name.
        key: What the part is called.
    """
    if isinstance(value, Mapping):
        return {
            names.get(k, k) if key in _BY_NAME else k: _canonical(
                v, names, key if key in _CONNECTIONS else k
            )
            for k, v in _kept(value).items()
        }
    if isinstance(value, (list, tuple)):
        return [_canonical(item, names, key) for item in value]
    if isinstance(value, str):
        return names.get(value, value) if key == "name" or key in _CONNECTIONS else value
    return plain(value)


def _kept(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Leave out what is told by the code, and the file that it is written in."""
    is_lambda = config.get("class_name") == "__lambda__"
    left_out = ("shared_object_id", "config" if is_lambda else "")
    kept = {str(k): v for k, v in config.items() if k not in left_out}
    if str(config.get("module")).split(".")[0] not in ("keras", "builtins"):
        kept.pop("module", None)
    return kept


def _lambdas(config: Any) -> Iterator[str]:
    """Yield what each function without a name does."""
    if isinstance(config, Mapping) and config.get("class_name") == "__lambda__":
        found = config["config"]
        # A Lambda layer's are named, any other's are not.
        code, *held = found["value"] if "value" in found else found.values()
        # The user's own live network has just written it.
        yield digest([marshal.loads(codecs.decode(code.encode(), "base64")), *held])
    items = config.values() if isinstance(config, Mapping) else config
    for item in items:
        if isinstance(item, (Mapping, list, tuple)):
            yield from _lambdas(item)


def _checksum_text(config: Any) -> str:
    names = {name: f"#{i}" for i, name in enumerate(dict.fromkeys(_names(config)))}
    text = json.dumps(_canonical(config, names), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum_data(training: Data | Stream, validation: Data | Stream | None) -> str:
    sha = hashlib.sha256()
    training.digest(sha)
    if validation is not None:
        validation.digest(sha)
    return sha.hexdigest()


def _checksum(arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
