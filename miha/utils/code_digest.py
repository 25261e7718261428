"""What a user's code does, as a checksum that is the same in every process.

File, line numbers, comments and docstrings do not count. The values, functions and classes that
the code uses do, if they are the user's too. Byte code differs from one Python to the next.
"""

from __future__ import annotations

import functools
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from miha.utils.json_values import plain

_VALUES = bool | int | float | complex | str | bytes | None
_CONSTANTS = (tuple, frozenset, CodeType)
_COLLECTIONS = (list, tuple, dict, np.ndarray)
_CODE = (FunctionType, type, functools.partial)


def digest(thing: Any) -> str:
    """Return a checksum of what a function, class or object of the user's does.

    Args:
        thing: Also a partial, a method or a code object.
    """
    reader = _Reader()
    text = json.dumps(reader.read(thing))
    checksum = zlib.crc32(text.encode())
    return f"{checksum:08x}"


def is_user_code(thing: Any) -> bool:
    """Return whether a function, a class or an object's class is the user's, not a library's."""
    # A function that `exec` made has no module: None.
    module = getattr(thing, "__module__", type(thing).__module__)
    root = str(module).split(".")[0]
    if root == "miha":
        return False
    if root in sys.stdlib_module_names and root != "__main__":
        return False
    package = sys.modules.get(root)
    file = getattr(package, "__file__", None)
    return file is None or "-packages" not in file


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
            checksum = zlib.crc32(thing.tobytes())
            return [str(thing.dtype), thing.shape, checksum]
        if isinstance(thing, Mapping):
            return [[str(key), self.read(value)] for key, value in thing.items()]
        if isinstance(thing, set | frozenset):
            return sorted(map(self.read, thing), key=repr)
        if isinstance(thing, list | tuple):
            return [self.read(item) for item in thing]
        if isinstance(thing, CodeType):
            return list(self._code(thing))
        return list(self._callable(thing))

    def _callable(self, thing: Any) -> Iterator[Any]:
        inner = getattr(thing, "python_function", None)
        inner = getattr(thing, "__wrapped__", inner)
        if isinstance(thing, functools.partial):
            yield self.read(thing.func)
            yield self.read(thing.args)
            yield self.read(thing.keywords)
        elif isinstance(thing, staticmethod | classmethod | MethodType):
            yield self.read(thing.__func__)
            yield self.read(getattr(thing, "__self__", None))
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
            has_state = is_user_code(thing) and hasattr(thing, "__dict__")
            yield self.read(type(thing))
            yield self.read(vars(thing) if has_state else None)

    def _function(self, function: FunctionType) -> Iterator[Any]:
        if not is_user_code(function):
            yield function.__qualname__
            return
        yield from self._code(_without_docstring(function))
        yield self.read(function.__defaults__)
        yield self.read(function.__kwdefaults__)
        yield from map(self.read, _contents(function))
        yield from map(self.read, _globals(function))

    def _code(self, code: CodeType) -> Iterator[Any]:
        yield code.co_code.hex()
        yield list(code.co_names)
        yield from map(self.read, code.co_consts)

    def _class(self, kind: type) -> Iterator[Any]:
        """Yield what a class and its bases define, where they are the user's."""
        yield kind.__qualname__.rsplit(".", 1)[-1]
        for base in filter(is_user_code, kind.__mro__):
            members = vars(base)
            for name in sorted(members):
                value = members[name]
                if not name.startswith("__") or callable(value):
                    yield [name, self.read(value)]


def _without_docstring(function: FunctionType) -> CodeType:
    """Return a function's code; what it says of itself is not what it does."""
    code = function.__code__
    text = function.__doc__
    # A docstring is the first constant.
    if text is None or code.co_consts[:1] != (text,):
        return code
    constants = (None, *code.co_consts[1:])
    return code.replace(co_consts=constants)


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
        if isinstance(value, _VALUES) or isinstance(value, _COLLECTIONS):
            yield value
        elif isinstance(value, _CODE) and is_user_code(value):
            yield value
