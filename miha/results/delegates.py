"""Methods of a result that other rooms do: figures, a page, a study, a table in a notebook.

This is the one place where a lower room calls a higher one. The higher room is looked up by name
when a method is called, so that a `Result` needs no plotting library.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go


class Delegates:
    """What a `Result` can be shown as; each method imports what it needs when it is called."""

    def plot_learning_history(
        self,
        metrics: Sequence[str] | None = None,
    ) -> go.Figure:
        """Plot the main line's values; see `miha.visualization.plot_learning_history`."""
        return _call("visualization", "plot_learning_history", self, metrics)

    def plot_best(
        self,
        metric: str | None = None,
        mode: Literal["min", "max"] | None = None,
    ) -> go.Figure:
        """Plot the best value so far; see `miha.visualization.plot_best`."""
        return _call("visualization", "plot_best", self, metric, mode)

    def plot_lineage(self) -> go.Figure:
        """Plot who was tried, who won, and by how much; see `miha.visualization.plot_lineage`."""
        return _call("visualization", "plot_lineage", self)

    def plot_schedule(self) -> go.Figure:
        """Plot the hyperparameters over the epochs; see `miha.visualization.plot_schedule`."""
        return _call("visualization", "plot_schedule", self)

    def plot_gains(self) -> go.Figure:
        """Plot what the mutations gained; see `miha.visualization.plot_gains`."""
        return _call("visualization", "plot_gains", self)

    def plot_parallel_coordinate(
        self,
        genes: Sequence[str] | None = None,
    ) -> go.Figure:
        """Plot every clone as a line; see `miha.visualization.plot_parallel_coordinate`."""
        return _call("visualization", "plot_parallel_coordinate", self, genes)

    def plot_pairs(
        self,
        genes: Sequence[str] | None = None,
    ) -> go.Figure:
        """Plot two hyperparameters; see `miha.visualization.plot_pairs`."""
        return _call("visualization", "plot_pairs", self, genes)

    def plot_importance(
        self,
        seed: int = 0,
    ) -> go.Figure:
        """Plot which hyperparameters matter; see `miha.visualization.plot_importance`."""
        return _call("visualization", "plot_importance", self, seed)

    def report(
        self,
        path: str | Path | None = None,
        importance: bool = False,
    ) -> Path:
        """Write one self-contained HTML page of the run.

        Args:
            path: The file; by default ``report.html`` in the run's folder.
            importance: Whether to compute which hyperparameters matter, which takes seconds.

        Returns:
            The file.

        Raises:
            StorageError: It cannot be written.
            MissingPackageError: Plotly is not installed.
        """
        written: Path = _call("report.page", "write_report", self, path, importance)
        return written

    def to_optuna(
        self,
        storage: Any = None,
        study_name: str | None = None,
        target: Literal["value", "fitness", "gain"] = "value",
    ) -> optuna.Study:
        """Return the run as an Optuna study; see `miha.integrations.optuna.to_optuna`."""
        return _call("integrations.optuna", "to_optuna", self, storage, study_name, target)

    def to_tensorboard(
        self,
        path: str | Path | None = None,
    ) -> Path:
        """Write the run for TensorBoard; see `miha.integrations.tensorboard.to_tensorboard`."""
        written: Path = _call("integrations.tensorboard", "to_tensorboard", self, path)
        return written

    def _repr_html_(self) -> str:
        text: str = _call("report.notebook", "as_html", self)
        return text


def _call(
    module: str,
    function: str,
    *args: Any,
) -> Any:
    """Call a function of a room above this one."""
    # No import statement: it would make a circle, which a newcomer has to untangle.
    room = import_module(f"miha.{module}")
    return getattr(room, function)(*args)
