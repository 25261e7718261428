"""How a result shows itself: figures, a page, a study, a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from miha.results.result import Result


class Showing:
    """What a `Result` can be shown as; each imports what it needs when it is called."""

    @property
    def _result(self) -> Result:
        return cast("Result", self)

    def plot_learning_history(self) -> go.Figure:
        """Plot the main line's losses; see `miha.visualization.plot_learning_history`."""
        from miha.visualization import plot_learning_history

        return plot_learning_history(self._result)

    def plot_lineage(self) -> go.Figure:
        """Plot who was tried, who won, and by how much; see `miha.visualization.plot_lineage`."""
        from miha.visualization import plot_lineage

        return plot_lineage(self._result)

    def plot_schedule(self) -> go.Figure:
        """Plot the hyperparameters over the epochs; see `miha.visualization.plot_schedule`."""
        from miha.visualization import plot_schedule

        return plot_schedule(self._result)

    def plot_gains(self) -> go.Figure:
        """Plot what the mutations gained; see `miha.visualization.plot_gains`."""
        from miha.visualization import plot_gains

        return plot_gains(self._result)

    def plot_parallel_coordinate(self, genes: Sequence[str] | None = None) -> go.Figure:
        """Plot every clone as a line; see `miha.visualization.plot_parallel_coordinate`."""
        from miha.visualization import plot_parallel_coordinate

        return plot_parallel_coordinate(self._result, genes)

    def plot_pairs(self, genes: Sequence[str] | None = None) -> go.Figure:
        """Plot two hyperparameters; see `miha.visualization.plot_pairs`."""
        from miha.visualization import plot_pairs

        return plot_pairs(self._result, genes)

    def plot_importance(self, seed: int = 0) -> go.Figure:
        """Plot which hyperparameters matter; see `miha.visualization.plot_importance`."""
        from miha.visualization import plot_importance

        return plot_importance(self._result, seed)

    def report(self, path: str | Path | None = None) -> Path:
        """Write one self-contained HTML page of the run.

        Args:
            path: The file; by default ``report.html`` in the run's folder.

        Returns:
            The file.

        Raises:
            StorageError: It cannot be written.
            MissingPackageError: Plotly is not installed.
        """
        from miha.report.page import write_report

        return write_report(self._result, path)

    def to_optuna(
        self,
        storage: Any = None,
        study_name: str | None = None,
        target: Literal["value", "fitness", "gain"] = "value",
    ) -> optuna.Study:
        """Return the run as an Optuna study; see `miha.integrations.optuna.to_optuna`."""
        from miha.integrations.optuna import to_optuna

        return to_optuna(self._result, storage, study_name, target)

    def to_tensorboard(self, path: str | Path | None = None) -> Path:
        """Write the run for TensorBoard; see `miha.integrations.tensorboard.to_tensorboard`."""
        from miha.integrations.tensorboard import to_tensorboard

        return to_tensorboard(self._result, path)

    def _repr_html_(self) -> str:
        from miha.report.notebook import as_html

        return as_html(self._result)
