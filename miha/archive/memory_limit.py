"""A limit on the memory that building a network takes.

Keras has no hook for it. So what takes memory is wrapped meanwhile, for this thread only:
variables, symbolic tensors, and the two functions with which layers make arrays when they are
built. Layers call these two by names that are not public: hence `layer_ops`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import threading
from collections.abc import Iterator
from typing import Any

import keras

from miha.trainer.network.keras_internals import is_torch_meta, layer_ops

ops = layer_ops()

MOST_TENSORS = 100_000
"""Symbolic tensors of one network: `Unstack` makes one for each index."""

_lock = threading.Lock()
_local = threading.local()
_users = 0
_originals: dict[tuple[Any, str], Any] = {}


@contextlib.contextmanager
def budget(limit: int) -> Iterator[None]:
    """Let this thread make arrays of so many bytes in all in the block.

    Args:
        limit: Bytes.

    Raises:
        MemoryError: In the block, before memory for one array too many is taken.
    """
    with _wrapped():
        _local.limit = limit
        _local.left = limit
        _local.tensors = MOST_TENSORS
        _local.is_counting = True
        try:
            yield
        finally:
            _local.is_counting = False


@contextlib.contextmanager
def _wrapped() -> Iterator[None]:
    """Let Keras count; the last thread to leave restores everything."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _wrap(keras.Variable, "__init__", _count_variable)
            _wrap(keras.KerasTensor, "__init__", _count_tensor)
            _wrap(ops, "zeros", _count_zeros)
            _wrap(ops, "broadcast_to", _count_broadcast)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _unwrap()


def _unwrap() -> None:
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: Any, name: str, count: Any) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not getattr(_local, "is_counting", False):
            return original(*args, **kwargs)
        count(*args, **kwargs)
        # The calls that fill the array make no other array.
        _local.is_counting = False
        try:
            return original(*args, **kwargs)
        finally:
            _local.is_counting = True

    _originals[owner, name] = original
    setattr(owner, name, wrapped)


def _count_variable(
    _: Any,
    initializer: Any,
    shape: Any = None,
    dtype: Any = None,
    *args: Any,
    **kwargs: Any,
) -> None:
    # Without a shape, the initializer is the value, which was counted before.
    if shape is not None:
        _spend(shape, dtype)


def _count_tensor(*args: Any, **kwargs: Any) -> None:
    _local.tensors -= 1
    if _local.tensors < 0:
        raise MemoryError(f"a network must have at most {MOST_TENSORS} symbolic tensors.")


def _count_zeros(shape: Any, dtype: Any = None, **kwargs: Any) -> None:
    if _is_real():
        _spend(shape, dtype)


def _count_broadcast(x: Any, shape: Any) -> None:
    if _is_real():
        _spend(shape, getattr(x, "dtype", None))


def _is_real() -> bool:
    """Return whether arrays are made, and not only their shapes computed."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    if backend == "jax":
        import jax

        probe = jax.numpy.zeros(())
        return not isinstance(probe, jax.core.Tracer)
    return not is_torch_meta()


def _spend(shape: Any, dtype: Any) -> None:
    # An axis of unknown length has none.
    axes = [axis for axis in keras.tree.flatten(shape) if isinstance(axis, int)]
    name = keras.backend.standardize_dtype(dtype)
    _local.left -= math.prod(axes) * _item_size(name)
    if _local.left < 0:
        raise MemoryError(
            "the arrays of a network must be about as large as the weights that the archive "
            f"holds, but one of shape {shape} exceeds the {_local.limit} bytes allowed."
        )


def _item_size(dtype: str) -> int:
    """Return the bytes of one value, e.g. 2 of a ``"bfloat16"``."""
    found = re.search(r"\d+", dtype)
    bits = int(found[0]) if found else 0
    return max(bits // 8, 1)
