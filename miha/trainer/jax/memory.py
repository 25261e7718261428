"""How much memory a clone takes on JAX, estimated before any is trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import jax

SHARE = 0.8
"""Of the free memory, what an estimate may fill."""


def free_bytes() -> float:
    """Return the free memory of the device; infinity where it cannot be told."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Not every system tells.
        return math.inf


def bytes_of(arrays: Any) -> int:
    """Return the bytes of all arrays of a structure, or of their shapes."""
    return sum(_bytes(array) for array in jax.tree.leaves(arrays))


def peak_bytes(program: Any) -> int:
    """Return the most bytes that the intermediate values of a program take at a time.

    Args:
        program: A jaxpr. Compiled, it takes less: XLA keeps few of the values that it passes on.
    """
    last = {v: i for i, eqn in enumerate(program.eqns) for v in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(program.outvars), len(program.eqns))
    alive, most = 0, 0
    made: set[Any] = set()
    for i, eqn in enumerate(program.eqns):
        alive += sum(_bytes(v.aval) for v in eqn.outvars)
        made |= set(eqn.outvars)
        most = max(most, alive + max(map(peak_bytes, _inner(eqn)), default=0))
        gone = {v for v in (*_variables(eqn.invars), *eqn.outvars) if last.get(v, i) == i} & made
        alive -= sum(_bytes(v.aval) for v in gone)
        made -= gone
    return most


def _variables(atoms: Any) -> list[Any]:
    return [atom for atom in atoms if not hasattr(atom, "val")]  # Literals have a value.


def _inner(eqn: Any) -> Iterator[Any]:
    """Yield the programs that an operation runs, such as the body of a loop."""
    for parameter in eqn.params.values():
        for value in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
            closed = getattr(value, "jaxpr", value)
            if hasattr(closed, "eqns"):
                yield closed


def _bytes(array: Any) -> int:
    size: int = math.prod(array.shape) * getattr(array.dtype, "itemsize", 8)
    return size
