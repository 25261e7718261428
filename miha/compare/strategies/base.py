"""What a strategy is: anything that trains networks of one family until its budget is spent."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from miha.compare.configurations import ConfigurationSpace

if TYPE_CHECKING:
    import keras

    from miha.compare.task import Task


@dataclass(frozen=True)
class Strategy(ABC):
    """A way to spend a budget of epochs. Write one method, `run`.

    Attributes:
        name: In tables and figures.
    """

    name: str

    needs: ClassVar[tuple[str, ...]] = ()
    """Modules of optional packages that `run` imports."""

    @abstractmethod
    def run(self, task: Task) -> keras.Model:
        """Train networks until ``task.meter.is_over``, and return the one to take.

        Only the training and the validation data may decide which one: a task has no others.
        """

    def obstacle(self, space: ConfigurationSpace, epochs: int) -> str | None:
        """Say why the strategy cannot run here; None where it can."""
        for module in self.needs:
            if not _is_installed(module):
                return f"{module} is not installed; pip install 'miha[compare]'"
        return None

    @property
    def lines(self) -> int:
        """Lines of code of `run` and of the methods that it uses, without documentation."""
        kinds = [kind for kind in type(self).__mro__ if Strategy in kind.__mro__[1:]]
        return sum(
            lines_of(method)
            for kind in kinds
            for name, method in vars(kind).items()
            if inspect.isfunction(method) and name not in NOT_COUNTED
        )


def _is_installed(module: str) -> bool:
    if module in sys.modules:  # Some replace themselves by an object without a specification.
        return sys.modules[module] is not None
    return find_spec(module) is not None


NOT_COUNTED = (
    "obstacle",
    "__init__",
    "__repr__",
    "__eq__",
    "__hash__",
    "__setattr__",
    "__delattr__",
)
"""Methods that a comparison needs, and not a user of the library."""


def lines_of(thing: Any) -> int:
    """Count the lines of a function that hold code; docstrings, comments and blanks do not count.

    Args:
        thing: A function; one that was typed into an interpreter has no source, and counts 0.
    """
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return 0
    code = ast.parse(source)
    without = {line for node in ast.walk(code) for line in _documentation(node)}
    texts = enumerate(map(str.strip, source.splitlines()), start=1)
    return sum(1 for n, text in texts if n not in without and text and text[0] != "#")


def _documentation(node: ast.AST) -> range:
    """Return the lines of a statement that is nothing but a text."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return range(0)
    is_text = isinstance(node.value.value, str)
    return range(node.lineno, (node.end_lineno or node.lineno) + 1) if is_text else range(0)
