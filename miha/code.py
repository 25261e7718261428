"""What a function or class does, as a checksum that is the same in every process.

File, line numbers and comments are no part of it; the values that a closure holds are. Byte code
differs from one Python to the next.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from types import CodeType
from typing import Any

from miha.plain import plain


def digest(thing: Any) -> str:
    """Return a checksum of a function's code, or of that of a class and its methods.

    Args:
        thing: A function, a class or a code object; anything else counts by its class.
    """
    return f"{zlib.crc32(json.dumps(plain(list(_parts(thing)))).encode()):08x}"


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, CodeType):
        yield from _code(thing)
    elif hasattr(thing, "__code__"):
        yield from _function(thing)
    else:
        yield from _class(thing if isinstance(thing, type) else type(thing))


def _code(code: CodeType) -> Iterator[Any]:
    yield code.co_code.hex()
    yield code.co_names
    for value in code.co_consts:
        yield list(_code(value)) if isinstance(value, CodeType) else value


def _function(function: Any) -> Iterator[Any]:
    # A docstring is the first constant: what a function says of itself is not what it does.
    code, text = function.__code__, function.__doc__
    if text is not None and code.co_consts[:1] == (text,):
        code = code.replace(co_consts=(None, *code.co_consts[1:]))
    yield from _code(code)
    yield [function.__defaults__, function.__kwdefaults__]
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # Not bound yet.
            continue
        yield digest(value) if hasattr(value, "__code__") else value


def _class(kind: type) -> Iterator[Any]:
    """Yield what a class and its bases in the same module define."""
    for base in kind.__mro__:
        if base.__module__ == kind.__module__:
            for name, value in sorted(vars(base).items()):
                method = getattr(value, "__func__", getattr(value, "fget", value))
                if hasattr(method, "__code__"):
                    yield [name, list(_function(method))]
