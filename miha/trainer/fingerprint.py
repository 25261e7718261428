"""What tells this data and this network from others, in every process alike."""

from __future__ import annotations

import codecs
import hashlib
import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from miha.code import digest
from miha.plain import plain
from miha.trainer.copies import values
from miha.trainer.custom import custom_objects
from miha.trainer.data import Data
from miha.trainer.optimizers import inner


def fingerprint(
    network: keras.Model, training: Data, validation: Data | None = None
) -> dict[str, str]:
    """Return checksums of the data, and of a network's layers, weights and compilation.

    Args:
        network: A built and compiled network.
        training: Training data.
        validation: Validation data.
    """
    arrays = [*training.arrays, *(validation.arrays if validation else ())]
    layers = keras.saving.serialize_keras_object(network)
    layers.pop("compile_config", None)
    own = {name: digest(thing) for name, thing in sorted(custom_objects(network).items())}
    return {
        "data": _checksum(arrays),
        "layers": _checksum_text(layers),
        "compiled": _checksum_text(network.get_compile_config()),
        "weights": _checksum([*values(network.weights), *_trained_slots(network)]),
        "code": hashlib.sha256(json.dumps(own).encode()).hexdigest(),
    }


def _names(config: Any) -> Iterator[str]:
    """Yield all names of parts: Keras numbers them by process, so they tell nothing."""
    items = config.values() if isinstance(config, Mapping) else config
    if isinstance(config, Mapping) and isinstance(config.get("name"), str):
        yield config["name"]
    for item in items:
        if isinstance(item, (Mapping, list, tuple)):
            yield from _names(item)


def _trained_slots(network: keras.Model) -> tuple[np.ndarray, ...]:
    """Return the state of an optimizer that has trained; a fresh one may not be built yet."""
    optimizer = network.optimizer
    trained = optimizer.built and int(inner(optimizer).iterations) > 0
    return values(optimizer.variables) if trained else ()


def _canonical(value: Any, names: Mapping[str, str]) -> Any:
    """Return a configuration without what differs from process to process."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k != "shared_object_id"}
        if value.get("class_name") == "__lambda__":
            kept["config"] = {**value["config"], "code": _lambda(value["config"]["code"])}
        return {names.get(str(k), str(k)): _canonical(v, names) for k, v in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else plain(value)


def _lambda(code: str) -> str:
    """Return what a Lambda layer's code does, without the place where it is written."""
    # The user's own live network has just written it.
    return digest(marshal.loads(codecs.decode(code.encode(), "base64")))


def _checksum_text(config: Any) -> str:
    names = {name: f"#{i}" for i, name in enumerate(dict.fromkeys(_names(config)))}
    text = json.dumps(_canonical(config, names), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
