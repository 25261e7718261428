"""Comparisons for tests: of strategies that train nothing, and made of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rivals
from rivals import START, Rival

from miha.compare import Comparison, compare
from miha.compare.records import Cell, Place

MIHA = Rival("MIHA", 0.8, 0.01)
BOTH = (MIHA, Rival())
STARTS = {"good": START, "random": None}
SCORES = {
    "MIHA": {"good": [0.9, 0.92, 0.94], "random": [0.8, 0.9, 0.7]},
    "random search": {"good": [0.9, 0.91, 0.92], "random": [0.6, 0.7, 0.8]},
}


def run(folder: Path, strategies: Any = BOTH, **arguments: Any) -> Comparison:
    """Compare strategies that train nothing."""
    defaults = {"starts": STARTS, "epochs": 3, "seeds": 2, "score": rivals.score, "verbose": 0}
    defaults |= {"metric": "accuracy", "isolate": False, "logs": folder}
    return compare(rivals.build, rivals.data(), strategies, **(defaults | arguments))


def made(scores: Any = SCORES, mode: str = "max") -> Comparison:
    """Return a comparison with some scores."""
    curve = ((0.5, 0.9), (1.0, 0.4), (1.5, 0.6), (2.0, 0.2))
    cells = [
        Cell(Place(start, name, seed), {"accuracy": value}, 0.2, None, 4, 2.0, 100.0, curve)
        for name, starts in scores.items()
        for start, values in starts.items()
        for seed, value in enumerate(values)
    ]
    about = {"epochs": 4, "monitor": "val_loss", "mode": "min", "metric": "accuracy"}
    about |= {"metric_mode": mode, "strategies": list(scores), "starts": ["good", "random"]}
    return Comparison(tuple(cells), about | {"random_starts": ["random"]}, {})
