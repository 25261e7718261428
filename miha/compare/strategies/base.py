"""What a strategy is: anything that trains networks of one family until its budget is spent."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from miha.compare.configurations import ConfigurationSpace
from miha.compare.task import Model, Task


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
    def run(self, task: Task) -> Model:
        """Train networks until ``task.meter.is_over``, and return the one to take.

        Only the training and the validation data may decide which one: a task has no others.
        """

    def obstacle(
        self,
        space: ConfigurationSpace,
        epochs: int,
    ) -> str | None:
        """Say why the strategy cannot run here; None where it can."""
        for module in self.needs:
            if not _is_installed(module):
                return f"{module} is not installed; pip install 'miha[compare]'"
        return None


def _is_installed(module: str) -> bool:
    # A module may have replaced itself by an object that `find_spec` cannot read.
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None
