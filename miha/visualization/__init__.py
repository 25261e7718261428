"""Figures of a run, finished, running or interrupted: ``plot_...(result) -> Figure``.

They are Plotly's; ``pip install 'miha[plot]'`` installs it.
"""

from __future__ import annotations

from miha.visualization.best import plot_best
from miha.visualization.gains import plot_gains
from miha.visualization.history import plot_learning_history
from miha.visualization.importance import plot_importance
from miha.visualization.lineage import plot_lineage
from miha.visualization.pairs import plot_pairs
from miha.visualization.parallel import plot_parallel_coordinate
from miha.visualization.schedule import plot_schedule

__all__ = [
    "plot_best",
    "plot_importance",
    "plot_learning_history",
    "plot_lineage",
    "plot_pairs",
    "plot_parallel_coordinate",
    "plot_schedule",
    "plot_gains",
]
