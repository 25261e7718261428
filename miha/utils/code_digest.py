"""What a user's code does, as a checksum that is the same in every process.

File, line numbers, comments and docstrings do not count. The values, functions and classes that
the code uses do, if they are the user's too. Byte code differs from one Python to the next.
"""

from __future__ import annotations

import functools
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from miha.utils.json_values import plain

_VALUES = (bool, int, float, complex, str, bytes, type(None))

_CONSTANTS = (tuple, frozenset, CodeType)


def digest(thing: Any) -> str:
    """Return a checksum of what a function, class or object of the user's does.

    Args:
        thing: Also a partial, a method or a code object.
    """
    text = json.dumps(_Reader().read(thing))
    return f"{zlib.crc32(text.encode()):08x}"


def is_user_code(thing: Any) -> bool:
    """Return whether a function, a class or an object's class is the user's, not a library's."""
    # A function that `exec` made has no module: None.
    module = getattr(thing, "__module__", type(thing).__module__)
    root = str(module).split(".")[0]
    if root == "miha":
        return False
    if root in sys.stdlib_module_names and root != "__main__":
        return False
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return "-packages" not in file


class _Reader:
    """Read each part once: functions may use each other, or themselves."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def read(self, thing: Any) -> Any:
        """Return what something does, as JSON can hold it."""
        if isinstance(thing, _VALUES):
            return plain(thing)
        # Whether two equal constants are one object differs from process to process.
        if isinstance(thing, _CONSTANTS):
            return self._part(thing)
        if id(thing) in self._seen:
            return "seen before"
        # The reference keeps a later part from getting the same number.
        self._seen[id(thing)] = thing
        return self._part(thing)

    def _part(self, thing: Any) -> Any:
        if isinstance(thing, np.ndarray):
            return [str(thing.dtype), thing.shape, zlib.crc32(thing.tobytes())]
        if isinstance(thing, Mapping):
            return [[str(key), self.read(value)] for key, value in thing.items()]
        if isinstance(thing, (set, frozenset)):
            return sorted(self._all(thing), key=repr)
        if isinstance(thing, (list, tuple)):
            return list(self._all(thing))
        if isinstance(thing, CodeType):
            return list(self._code(thing))
        return list(self._callable(thing))

    def _callable(self, thing: Any) -> Iterator[Any]:
        inner = getattr(thing, "__wrapped__", getattr(thing, "python_function", None))
        if isinstance(thing, functools.partial):
            yield from self._all((thing.func, thing.args, thing.keywords))
        elif isinstance(thing, (staticmethod, classmethod, MethodType)):
            owner = getattr(thing, "__self__", None)
            yield from self._all((thing.__func__, owner))
        elif isinstance(thing, property):
            yield self.read(thing.fget)
        elif isinstance(thing, functools.cached_property):
            yield self.read(thing.func)
        elif inner is not None and not isinstance(thing, type):
            yield self.read(inner)
        elif isinstance(thing, FunctionType):
            yield from self._function(thing)
        elif isinstance(thing, type):
            yield from self._class(thing)
        else:
            yield from self._object(thing)

    def _all(self, things: Iterable[Any]) -> Iterator[Any]:
        return (self.read(thing) for thing in things)

    def _object(self, thing: Any) -> Iterator[Any]:
        has_state = is_user_code(thing) and hasattr(thing, "__dict__")
        yield self.read(type(thing))
        yield self.read(vars(thing) if has_state else None)

    def _function(self, function: FunctionType) -> Iterator[Any]:
        if not is_user_code(function):
            yield function.__qualname__
            return
        code = function.__code__
        text = function.__doc__
        # A docstring is the first constant: what a function says of itself is not what it does.
        if text is not None and code.co_consts[:1] == (text,):
            code = code.replace(co_consts=(None, *code.co_consts[1:]))

        yield from self._code(code)
        yield from self._all((function.__defaults__, function.__kwdefaults__))
        yield from self._all(_contents(function))
        yield from self._all(_globals(function))

    def _code(self, code: CodeType) -> Iterator[Any]:
        yield code.co_code.hex()
        yield list(code.co_names)
        yield from self._all(code.co_consts)

    def _class(self, kind: type) -> Iterator[Any]:
        """Yield what a class and its bases define, where they are the user's."""
        yield kind.__qualname__.rsplit(".", 1)[-1]
        for base in filter(is_user_code, kind.__mro__):
            for name, value in sorted(vars(base).items()):
                if not name.startswith("__") or callable(value):
                    yield [name, self.read(value)]


def _contents(function: FunctionType) -> Iterator[Any]:
    """Yield the values in a closure."""
    for cell in function.__closure__ or ():
        # A variable that has no value yet has no content.
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _globals(function: FunctionType) -> Iterator[Any]:
    """Yield the values, functions and classes beside a function that it names."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, (*_VALUES, list, tuple, dict, np.ndarray)):
            yield value
        elif isinstance(value, (FunctionType, type, functools.partial)) and is_user_code(value):
            yield value
