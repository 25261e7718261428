"""A search whose best configuration is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import families
from families import START

from miha.compare import Strategy, compare
from miha.space import SearchSpace

TEACHER = SearchSpace(
    optimizers=["adam"], activations=["relu", "sigmoid", "elu"], batch_size=(16, 16),
    learning_rate=(1e-4, 1e-3), layers=["hidden"], input_noise=[0.0],
)  # fmt: skip
POOR = START.replace(learning_rate=0.001, activations=(("hidden", "relu"),))


def found_by(strategy: Strategy, folder: Path, epochs: int, isolate: bool = False) -> Any:
    """Return the cell of a strategy on the objective whose best activation is known: elu."""
    comparison = compare(
        *(families.build_teacher, families.curves(), [strategy]),
        **{"starts": {"poor": POOR}, "space": TEACHER, "epochs": epochs, "seeds": 1},
        **{"isolate": isolate, "logs": folder, "verbose": 0},
    )
    [cell] = comparison.cells
    assert cell.failure is None, cell.failure
    return cell
