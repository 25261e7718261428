"""What tells this data and this network from others, in every process alike."""

from __future__ import annotations

import codecs
import hashlib
import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from types import MethodType
from typing import Any

import numpy as np
from keras import Model
from keras.ops import convert_to_numpy

from miha.data.arrays import Data
from miha.data.stream import Stream
from miha.trainer.genes.optimizers import inner
from miha.trainer.network.compilation import nameless
from miha.trainer.network.copies import configuration, values
from miha.trainer.network.custom_layers import custom_objects
from miha.utils.code_digest import digest
from miha.utils.json_values import plain

Source = Data | Stream

_CONNECTIONS = ("input_layers", "output_layers", "keras_history")
"""Where a configuration names layers."""

_BY_NAME = ("loss", "loss_weights", "metrics", "weighted_metrics")
"""Where outputs' names are the keys."""


def fingerprint(
    network: Model,
    training: Source,
    validation: Source | None = None,
    known: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return checksums of the data, and of a network's layers, weights and compilation.

    Args:
        network: A built and compiled network.
        training: Training data.
        validation: Validation data.
        known: The network's custom objects, where they are known already.
    """
    layers = configuration(network)
    compiled = layers.pop("compile_config", None) or {}

    objects = custom_objects(network) if known is None else known
    digests = []
    for name, thing in sorted(objects.items()):
        if not _is_told_elsewhere(thing):
            digests.append([name, digest(thing)])
    code: list[Any] = [digests]
    code += _lambdas([layers, compiled])
    for key, places in nameless(network).items():
        code += [[key, place, digest(function)] for place, function in places.items()]
    weights = [*values(network.weights), *_trained_slots(network)]

    return {
        "data": _checksum_data(training, validation),
        "layers": _checksum_config(layers),
        "compiled": _checksum_config(compiled),
        "weights": _checksum_arrays(weights),
        "code": _checksum(json.dumps(code)),
    }


def _is_told_elsewhere(thing: Any) -> bool:
    """Return whether a function is a Lambda's, or what Keras wraps around a layer's `build`."""
    is_wrapper = isinstance(getattr(thing, "__wrapped__", None), MethodType)
    return is_wrapper or getattr(thing, "__name__", "") == "<lambda>"


def _trained_slots(
    network: Model,
) -> tuple[np.ndarray, ...]:
    """Return the state of an optimizer that has trained; a fresh one may not be built yet."""
    optimizer = network.optimizer
    if not optimizer.built:
        return ()
    steps = convert_to_numpy(inner(optimizer).iterations)
    return values(optimizer.variables) if steps > 0 else ()


def _checksum_data(
    training: Source,
    validation: Source | None,
) -> str:
    sha = hashlib.sha256()
    training.digest(sha)
    if validation is not None:
        validation.digest(sha)
    return sha.hexdigest()


def _checksum_arrays(arrays: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _checksum_config(config: Any) -> str:
    """Return the checksum of a configuration, in which numbers stand for the names of parts.

    Keras numbers parts by process, so that their names tell nothing.
    """
    found = dict.fromkeys(_names(config))
    names = {name: f"#{number}" for number, name in enumerate(found)}
    return _checksum(json.dumps(_canonical(config, names), sort_keys=True))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _names(config: Any) -> Iterator[str]:
    """Yield the names of all parts of a configuration."""
    if isinstance(config, Mapping) and isinstance(config.get("name"), str):
        yield config["name"]
    for item in _nested(config):
        yield from _names(item)


def _nested(config: Any) -> list[Any]:
    """Return the collections directly within one."""
    kinds = (Mapping, list, tuple)
    items = config.values() if isinstance(config, Mapping) else config
    return [item for item in items if isinstance(item, kinds)]


def _canonical(
    value: Any,
    names: dict[str, str],
    key: str = "",
) -> Any:
    """Return a part of a configuration without what differs from process to process.

    Args:
        value: The part.
        names: What stands for each name.
        key: What the part is called.
    """
    is_connection = key in _CONNECTIONS
    if isinstance(value, Mapping):
        found = {}
        for name, item in _kept(value).items():
            shown = names.get(name, name) if key in _BY_NAME else name
            # Names of layers may stand at any depth of a connection.
            found[shown] = _canonical(item, names, key if is_connection else name)
        return found

    if isinstance(value, (list, tuple)):
        return [_canonical(item, names, key) for item in value]
    if isinstance(value, str):
        return names.get(value, value) if key == "name" or is_connection else value
    return plain(value)


def _kept(
    config: Mapping[Any, Any],
) -> dict[str, Any]:
    """Leave out what the code tells, and the file that it is written in."""
    left_out = {"shared_object_id"}
    if config.get("class_name") == "__lambda__":
        left_out.add("config")

    kept = {}
    for key, value in config.items():
        if key not in left_out:
            kept[str(key)] = value

    root = str(config.get("module")).split(".")[0]
    if root not in ("keras", "builtins"):
        kept.pop("module", None)
    return kept


def _lambdas(config: Any) -> Iterator[str]:
    """Yield what each function without a name does."""
    if isinstance(config, Mapping) and config.get("class_name") == "__lambda__":
        found = config["config"]
        # The config of a Lambda layer names its values, any other does not.
        code, *held = found["value"] if "value" in found else found.values()
        # The user's own live network has just written it.
        function = marshal.loads(codecs.decode(code.encode(), "base64"))
        yield digest([function, *held])

    for item in _nested(config):
        yield from _lambdas(item)
