"""What a strategy is: anything that trains networks of one family until its budget is spent."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from types import FunctionType
from typing import TYPE_CHECKING, ClassVar

from miha.compare.configurations import ConfigurationSpace
from miha.compare.lines import lines_with_helpers

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
        """Lines of code of `run` and of what it uses beside it, without documentation."""
        kinds = [kind for kind in type(self).__mro__ if Strategy in kind.__mro__[1:]]
        methods = [
            method
            for kind in kinds
            for name, method in vars(kind).items()
            if isinstance(method, FunctionType) and name != "obstacle" and name[:2] != "__"
        ]
        return lines_with_helpers(methods, but=Strategy)


def _is_installed(module: str) -> bool:
    if module in sys.modules:  # Some replace themselves by an object without a specification.
        return sys.modules[module] is not None
    return find_spec(module) is not None
