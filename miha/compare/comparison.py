"""The outcome of a comparison: cells, tables, figures."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from miha.compare.records import Cell
from miha.compare.statistics import Difference, Mean, Scores, better_of, regrets
from miha.records import Mode

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

REFERENCE = "MIHA"
FILE = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """What several strategies made of the same budget.

    Attributes:
        cells: One for each start, strategy and seed; those that failed among them.
        about: What was compared: epochs, monitored value, metric, space, starts, versions.
        skipped: Strategies that could not run, and why.
    """

    cells: tuple[Cell, ...]
    about: Mapping[str, Any] = field(repr=False)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a comparison again, from its folder or from its JSON file."""
        path = Path(path) / FILE if Path(path).is_dir() else Path(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        cells = tuple(map(Cell.from_dict, found["cells"]))
        return cls(cells, found["about"], found["skipped"])

    def save(self, folder: str | Path, say: Callable[[str], None] = lambda text: None) -> None:
        """Write JSON, tables and figures into a folder; what cannot be drawn is said.

        Args:
            folder: It is made where it is not there.
            say: Receives a line about each thing that is left out.
        """
        from miha.compare.writing import write

        write(self, Path(folder), say)

    @property
    def strategies(self) -> list[str]:
        """Names of the strategies that ran."""
        return list(self.about["strategies"])

    @property
    def starts(self) -> list[str]:
        """Names of the starts."""
        return list(self.about["starts"])

    @property
    def metric(self) -> str:
        """Name of the score that counts."""
        return str(self.about["metric"])

    @property
    def metric_mode(self) -> Mode:
        """Whether that score is better small or large."""
        return cast(Mode, self.about["metric_mode"])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each cell: place, scores, validation value, cost, failure."""
        import pandas as pd

        names = ("value", "epochs", "seconds", "memory", "lines", "failure")
        return pd.DataFrame(
            [
                c.place._asdict() | dict(c.scores) | {name: getattr(c, name) for name in names}
                for c in self.cells
            ]
        )

    def scores(self, start: str, strategy: str, metric: str | None = None) -> Scores:
        """Return the scores of one strategy from one start, by seed.

        Cells that have failed have none, nor those whose score is not finite.
        """
        metric = metric or self.metric
        return {
            cell.place.seed: float(cell.scores[metric])
            for cell in self.of(start, strategy)
            if math.isfinite(cell.scores.get(metric, math.nan))
        }

    def of(self, start: str, strategy: str) -> list[Cell]:
        """Return the cells of one strategy from one start."""
        return [c for c in self.cells if c.place[:2] == (start, strategy)]

    @property
    def differing(self) -> dict[str, dict[str, int]]:
        """Circumstances that are not the same of all cells: in how many of them each one was."""
        names = dict.fromkeys(name for cell in self.cells for name in cell.circumstances)
        found = {n: Counter(str(c.circumstances.get(n)) for c in self.cells) for n in names}
        return {name: dict(counts) for name, counts in found.items() if len(counts) > 1}

    def table(self, start: str, metric: str | None = None) -> pd.DataFrame:
        """Return a row for each strategy: score, difference to MIHA, cost.

        Args:
            start: Name of the start.
            metric: Name of a score; the one that counts by default.

        Returns:
            Columns strategy, n, score, error, difference (MIHA less it), difference_error, p,
            epochs, seconds, memory (MB), lines, failed (cells without a finite score, which is
            the mean of the n others).
        """
        import pandas as pd

        return pd.DataFrame([self._row(start, name, metric) for name in self.strategies])

    def _row(self, start: str, strategy: str, metric: str | None) -> dict[str, Any]:
        cells = self.of(start, strategy)
        whole = [cell for cell in cells if not cell.failure]
        scores = self.scores(start, strategy, metric)
        mean = Mean.of(list(scores.values()))
        gap = Difference.of(self.scores(start, REFERENCE, metric), scores)
        is_reference = strategy == REFERENCE
        return {
            "strategy": strategy,
            "n": mean.count,
            "score": mean.value,
            "error": mean.error,
            "difference": np.nan if is_reference else gap.mean.value,
            "difference_error": np.nan if is_reference else gap.mean.error,
            "p": np.nan if is_reference else gap.p,
            "epochs": Mean.of([cell.epochs for cell in whole]).value,
            "seconds": Mean.of([cell.seconds for cell in whole]).value,
            "memory": Mean.of([c.memory for c in whole if c.memory is not None]).value,
            "lines": max((cell.lines for cell in cells), default=0),
            "failed": len(cells) - mean.count,
        }

    @cached_property
    def best_known(self) -> float:
        """The best score of any cell: what regret is counted from.

        It is that of one configuration with one seed, and luck is in it: it shifts all regrets
        alike.
        """
        scores = [
            value
            for start in self.starts
            for strategy in self.strategies
            for value in self.scores(start, strategy).values()
        ]
        return better_of(self.metric_mode, scores)

    def regret(self) -> pd.DataFrame:
        """Return by how much each strategy is worse than the best known, from random starts.

        Where no start was random, from all of them.

        Returns:
            Columns strategy, n, regret, error, worst, failed.
        """
        import pandas as pd

        starts = self.about["random_starts"] or self.starts
        rows = []
        for strategy in self.strategies:
            values = [v for start in starts for v in self.scores(start, strategy).values()]
            found = regrets(self.metric_mode, self.best_known, values)
            mean, worst = Mean.of(found), max(found, default=np.nan)
            row = {"strategy": strategy, "n": mean.count, "regret": mean.value}
            failed = sum(len(self.of(start, strategy)) for start in starts) - mean.count
            rows.append(row | {"error": mean.error, "worst": worst, "failed": failed})
        return pd.DataFrame(rows)

    def to_markdown(self) -> str:
        """Return all tables as Markdown."""
        from miha.compare.writing import markdown

        return markdown(self)

    def plot_epochs(self) -> go.Figure:
        """Plot the best monitored value so far against trained epochs."""
        from miha.compare.figures import plot_epochs

        return plot_epochs(self)

    def plot_seconds(self) -> go.Figure:
        """Plot the best monitored value so far against seconds."""
        from miha.compare.figures import plot_seconds

        return plot_seconds(self)

    def plot_scores(self) -> go.Figure:
        """Plot the test scores: a point for each seed, and the mean with its standard error."""
        from miha.compare.figures import plot_scores

        return plot_scores(self)
