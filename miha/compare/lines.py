"""Lines of code that a strategy takes: its methods, and what of its own these use."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from miha.utils.code_digest import is_user_code

HOME = "miha.compare.strategies"


def lines_of(thing: Any) -> int:
    """Count the lines of a function or class that hold code, not documentation or nothing.

    Args:
        thing: One that was typed into an interpreter has no source, and counts 0.
    """
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return 0
    code = ast.parse(source)
    without = {line for node in ast.walk(code) for line in _documentation(node)}
    texts = enumerate(map(str.strip, source.splitlines()), start=1)
    return sum(1 for n, text in texts if n not in without and text and text[0] != "#")


def lines_with_helpers(methods: list[FunctionType], but: type) -> int:
    """Count the lines of methods, and of the functions and classes beside them that they use.

    Args:
        methods: Each counts.
        but: Classes that derive from this one do not count as helpers.
    """
    found: dict[Any, None] = dict.fromkeys(methods)
    waiting = list(methods)
    while waiting:
        for helper in _helpers(waiting.pop(), but):
            if helper not in found:
                found[helper] = None
                waiting += _functions(helper)
    return sum(map(lines_of, found))


def _functions(thing: Any) -> list[FunctionType]:
    return (
        [f for f in vars(thing).values() if inspect.isfunction(f)]
        if inspect.isclass(thing)
        else [thing]
    )


def _helpers(function: FunctionType, but: type) -> Iterator[Any]:
    """Yield what a function names of the module that it is written in, or of the user's."""
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        is_code = inspect.isfunction(value) or inspect.isclass(value)
        if is_code and not (inspect.isclass(value) and issubclass(value, but)):
            if value.__module__.startswith(HOME) or is_user_code(value):
                yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)


def _documentation(node: ast.AST) -> range:
    """Return the lines of a statement that is nothing but a text."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return range(0)
    is_text = isinstance(node.value.value, str)
    return range(node.lineno, (node.end_lineno or node.lineno) + 1) if is_text else range(0)
