"""What tells this data and this network from others, in every process alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from miha.folder import plain
from miha.trainer.copies import values
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
    names = {name: f"#{i}" for i, name in enumerate(_names(network))}
    layers = keras.saving.serialize_keras_object(network)
    layers.pop("compile_config", None)
    return {
        "data": _checksum(arrays),
        "layers": _checksum_text(_canonical(layers, names)),
        "compiled": _checksum_text(_canonical(network.get_compile_config(), names)),
        "weights": _checksum([*values(network.weights), *_trained_slots(network)]),
    }


def _names(network: keras.Model) -> list[str]:
    """Return the names that Keras numbers by process, so that they tell nothing."""
    optimizer = network.optimizer
    named = [*network._flatten_layers(), optimizer, inner(optimizer)]
    return list(dict.fromkeys(part.name for part in named))


def _trained_slots(network: keras.Model) -> tuple[np.ndarray, ...]:
    """Return the state of an optimizer that has trained; a fresh one may not be built yet."""
    optimizer = network.optimizer
    trained = optimizer.built and int(inner(optimizer).iterations) > 0
    return values(optimizer.variables) if trained else ()


def _canonical(value: Any, names: Mapping[str, str]) -> Any:
    """Return a configuration without what differs from process to process."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k != "shared_object_id"}
        return {names.get(str(k), str(k)): _canonical(v, names) for k, v in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else plain(value)


def _checksum_text(structure: Any) -> str:
    return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()


def _checksum(arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
