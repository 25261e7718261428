"""What a stranger's network names, vetted before Keras builds it.

Keras has had many holes in what a `config.json` may name, and closes them one by one. Here only
the few things that a network needs are allowed; no module is imported.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from miha.archive.hdf5 import check_weights
from miha.archive.members import CONFIG, WEIGHTS, parse
from miha.archive.memory_limit import budget
from miha.trainer.network.copies import from_bytes
from miha.trainer.network.custom_layers import KINDS

_KINDS = (
    *KINDS,
    keras.Operation,
    keras.dtype_policies.DTypePolicyMap,
    keras.random.SeedGenerator,
)

_CODE = (
    keras.layers.Lambda,
    keras.layers.TFSMLayer,
    keras.layers.TorchModuleWrapper,
    keras.layers.JaxLayer,
    keras.layers.FlaxLayer,
)
"""Layers that hold code, or run what other files hold."""

_LOOKUPS = (keras.layers.StringLookup.__base__, keras.layers.TextVectorization)
"""Layers that read the file that their configuration names: lookups of all kinds."""

_FUNCTIONS = (
    "keras.activations",
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.regularizers",
)
_MAKERS = ("get", "serialize", "deserialize")

_ARRAYS = ("__keras_tensor__", "__numpy__", "__tensor__")
_VALUES = (*_ARRAYS, "__bytes__", "__ellipsis__", "__slice__")

_LARGEST = {
    "num_thresholds": 1_000_000,
    "num_classes": 1_000_000,
    "num_oov_indices": 1_000_000,
    "ngrams": 1_000_000,
    "max_tokens": 10_000_000,
}
"""Keras makes lists or NumPy's arrays of so many values, which no budget counts."""

_SPARE = 64 * 2**20
"""Bytes for variables that are not in the archive: those of metrics, say."""


def load_vetted(
    archive: bytes, members: Mapping[str, bytes], known: dict[str, Any], safe_mode: bool
) -> keras.Model:
    """Return the network of an archive that a stranger may have written.

    Args:
        archive: The archive's bytes.
        members: Its members by name.
        known: Classes and functions of the caller that the archive may name, by name.
        safe_mode: Whether to refuse what holds code or reads files.

    Raises:
        ValueError: The archive holds what no network needs. Keras raises many other errors.
        MemoryError: The network is larger than its weights.
    """
    missing = {CONFIG, WEIGHTS} - set(members)
    if missing:
        raise ValueError(f"a network must have the members {sorted(missing)}, and has not.")
    config = parse(members[CONFIG], CONFIG)
    weights = members[WEIGHTS]
    Vetting(known, safe_mode).check(config)
    check_weights(weights)
    # Twice: an array is there while it is filled and when it is loaded.
    with budget(2 * len(weights) + _SPARE):
        return from_bytes(archive, known, safe_mode)


class Vetting:
    """Check what a network's configuration names.

    Args:
        known: The caller's classes and functions by name; registered ones are known anyway.
        safe_mode: Whether to refuse what holds code or reads files.
    """

    def __init__(self, known: Mapping[str, Any], safe_mode: bool) -> None:
        self._known = {**known, **keras.saving.get_custom_objects()}
        self._safe_mode = safe_mode

    def check(self, config: Any) -> None:
        """Raise if something in a configuration, however deep, is not allowed.

        Args:
            config: The parsed `config.json`.

        Raises:
            ValueError: The message names it.
        """
        for item in _dicts(config):
            if "class_name" in item:
                self._check_named(item)
            if "inbound_nodes" in item:
                _check_nodes(item)
            for name, largest in _LARGEST.items():
                _check_count(name, item.get(name), largest)

    def _check_named(self, item: Mapping[str, Any]) -> None:
        name = item["class_name"]
        if not isinstance(name, str):
            raise ValueError(f"a class must be named by text, but is by {_short(name)}.")
        if name in _VALUES:
            _check_value(item)
        elif name == "__lambda__":
            self._refuse_code("a lambda")
        elif name == "function":
            self._check_function(item)
        else:
            self._check_class(item, self._find_class(item))

    def _find_class(self, item: Mapping[str, Any]) -> Any:
        """Return the class that Keras would take."""
        name = item["class_name"]
        module = item.get("module")
        known = self._find_known(item.get("registered_name", name))
        found = known or _find(module, name)
        is_kind = isinstance(found, type) and issubclass(found, _KINDS)
        if known is None and not is_kind:
            raise ValueError(_unknown(module, name))
        return found

    def _check_class(self, item: Mapping[str, Any], found: Any) -> None:
        if not isinstance(found, type):
            return
        config = item.get("config")
        if not isinstance(config, dict):
            config = {}
        if issubclass(found, _CODE):
            self._refuse_code(f"a {found.__name__} layer")
        vocabulary = config.get("vocabulary")
        if issubclass(found, _LOOKUPS) and isinstance(vocabulary, str):
            self._refuse_code(f"a layer that reads the file {_short(vocabulary)}")
        if issubclass(found, keras.Operation):
            _check_name(item.get("name"))
            _check_name(config.get("name"))

    def _check_function(self, item: Mapping[str, Any]) -> None:
        name = item.get("config")
        module = item.get("module")
        # Keras looks for a function without a module in all of its own.
        homes = _FUNCTIONS if module == "builtins" else (module,)
        if self._knows_function(name) or any(_is_function(home, name) for home in homes):
            return
        raise ValueError(_unknown(module, name))

    def _knows_function(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        # A registered function has its package before its name.
        is_registered = any(own.endswith(f">{name}") for own in self._known)
        return is_registered or bool(self._find_known(name))

    def _find_known(self, name: Any) -> Any:
        if isinstance(name, str):
            return self._known.get(name)
        return None

    def _refuse_code(self, what: str) -> None:
        if self._safe_mode:
            raise ValueError(
                f"it holds {what}, which can run code or read files. If you trust whoever made "
                "the archive, load it with `safe_mode=False`."
            )


def _dicts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield all dictionaries in a configuration, however deep."""
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _find(module: Any, name: str) -> Any:
    """Return what an imported module of Keras has under a name."""
    if not isinstance(module, str) or module.split(".")[0] != "keras":
        return None
    if module not in sys.modules:
        return None
    return vars(sys.modules[module]).get(name)


def _is_function(module: Any, name: Any) -> bool:
    if not isinstance(name, str) or name in _MAKERS:
        return False
    return module in _FUNCTIONS and isinstance(_find(module, name), types.FunctionType)


def _check_value(item: Mapping[str, Any]) -> None:
    if item["class_name"] not in _ARRAYS:
        return
    config = item.get("config")
    dtype = config.get("dtype") if isinstance(config, dict) else None
    # NumPy knows types of any size, such as "S1000000000".
    if not isinstance(dtype, str) or keras.backend.standardize_dtype(dtype) != dtype:
        raise ValueError(f"an array must have a type that Keras knows, but has {_short(dtype)}.")


def _check_nodes(item: Mapping[str, Any]) -> None:
    """Raise if a layer would be called on values: that would compute, instead of connect."""
    nodes = item["inbound_nodes"]
    if not isinstance(nodes, list) or not all(map(_is_connected, nodes)):
        raise ValueError(
            f"a layer must be called on other layers' outputs, but {_short(item.get('name'))} is "
            "called on something else."
        )


def _is_connected(node: Any) -> bool:
    if not isinstance(node, dict):
        return False
    classes = [item.get("class_name") for item in _dicts(node)]
    return "__keras_tensor__" in classes


def _check_count(name: str, value: Any, largest: int) -> None:
    if isinstance(value, int | float) and value > largest:
        raise ValueError(f"{name!r} must be at most {largest}, but is {_short(value)}.")


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        return
    if set(name) & set("/\\\0") or name in (".", ".."):
        raise ValueError(f"the name of a layer must not be a path, but is {_short(name)}.")


def _unknown(module: Any, name: Any) -> str:
    return (
        f"it names {_short(module)}.{_short(name)}, which is neither a part of networks that "
        "Keras has nor one of `custom_objects`. If it is yours, pass it there."
    )


def _short(value: Any) -> str:
    return repr(value)[:100]
