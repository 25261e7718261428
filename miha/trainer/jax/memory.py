"""How much memory a clone takes on JAX, estimated before any is trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import jax

SHARE = 0.8
"""Of the free memory, what an estimate may fill."""


def free_bytes() -> float:
    """Return the free memory of the device; infinity where it is unknown."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES")
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        # Not every system has these numbers.
        return math.inf


def bytes_of(arrays: Any) -> int:
    """Return the bytes of all arrays of a structure, or of their shapes."""
    return sum(map(_bytes, jax.tree.leaves(arrays)))


def peak_bytes(program: Any) -> int:
    """Return the most bytes that the intermediate values of a program take at a time.

    Args:
        program: A jaxpr. Compiled, it takes less: XLA keeps few of the values that it passes on.
    """
    last_uses = _last_uses(program)
    alive: set[Any] = set()
    alive_bytes = 0
    most = 0
    for place, equation in enumerate(program.eqns):
        made = set(equation.outvars)
        alive_bytes += _bytes_of_variables(equation.outvars)
        alive |= made

        parts = map(peak_bytes, _inner(equation))
        inside = max(parts, default=0)
        most = max(most, alive_bytes + inside)

        # What is not used after this equation is freed; an input was never counted.
        used = {*_variables(equation.invars), *made}
        later = {value for value in used if last_uses.get(value, place) > place}
        freed = (used & alive) - later
        alive_bytes -= _bytes_of_variables(freed)
        alive -= freed
    return most


def _last_uses(program: Any) -> dict[Any, int]:
    """Return for each variable the place of the last equation that uses it."""
    last: dict[Any, int] = {}
    for place, equation in enumerate(program.eqns):
        last |= dict.fromkeys(_variables(equation.invars), place)
    # The results outlive all equations.
    results = _variables(program.outvars)
    return last | dict.fromkeys(results, len(program.eqns))


def _variables(atoms: Any) -> list[Any]:
    # Literals have a value.
    return [atom for atom in atoms if not hasattr(atom, "val")]


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the programs that an operation runs, such as the body of a loop."""
    for parameter in equation.params.values():
        is_several = isinstance(parameter, (tuple, list))
        for value in parameter if is_several else (parameter,):
            program = getattr(value, "jaxpr", value)
            if hasattr(program, "eqns"):
                yield program


def _bytes_of_variables(variables: Iterable[Any]) -> int:
    return sum(_bytes(variable.aval) for variable in variables)


def _bytes(array: Any) -> int:
    itemsize = getattr(array.dtype, "itemsize", 8)
    size: int = math.prod(array.shape) * itemsize
    return size
