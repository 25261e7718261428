"""The outcome of a comparison: cells, tables, figures."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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
        file = Path(path)
        if file.is_dir():
            file = file / FILE
        found = json.loads(file.read_text(encoding="utf-8"))
        cells = [Cell.from_dict(values) for values in found["cells"]]
        return cls(tuple(cells), found["about"], found["skipped"])

    def save(
        self,
        folder: str | Path,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Write JSON, tables and figures into a folder; what cannot be drawn is said.

        Args:
            folder: It is made where it is not there.
            say: Receives a line about each thing that is left out.
        """
        _call("writing.write", self, Path(folder), say)

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

        rows = []
        for cell in self.cells:
            row: dict[str, Any] = cell.place._asdict()
            row.update(cell.scores)
            for name in ("value", "epochs", "seconds", "memory", "failure"):
                row[name] = getattr(cell, name)
            rows.append(row)
        return pd.DataFrame(rows)

    def scores(
        self,
        start: str,
        strategy: str,
        metric: str | None = None,
    ) -> Scores:
        """Return the scores of one strategy from one start, by seed.

        Cells that have failed have none, nor those whose score is not finite.
        """
        metric = metric or self.metric
        found = {}
        for cell in self.of(start, strategy):
            score = cell.scores.get(metric, math.nan)
            if math.isfinite(score):
                found[cell.place.seed] = float(score)
        return found

    def of(
        self,
        start: str,
        strategy: str,
    ) -> list[Cell]:
        """Return the cells of one strategy from one start."""
        place = (start, strategy)
        return [cell for cell in self.cells if cell.place[:2] == place]

    @property
    def differing(self) -> dict[str, dict[str, int]]:
        """Circumstances that are not the same of all cells: in how many of them each one was."""
        things = [cell.circumstances for cell in self.cells]
        names = dict.fromkeys(itertools.chain.from_iterable(things))
        found = {}
        for name in names:
            counts = Counter(str(thing.get(name)) for thing in things)
            if len(counts) > 1:
                found[name] = dict(counts)
        return found

    def table(
        self,
        start: str,
        metric: str | None = None,
    ) -> pd.DataFrame:
        """Return a row for each strategy: score, difference to MIHA, cost.

        Args:
            start: Name of the start.
            metric: Name of a score; the one that counts by default.

        Returns:
            Columns strategy, n, score, error, difference (MIHA less it), difference_error, p,
            epochs, seconds, memory (MB), failed (cells without a finite score, which is
            the mean of the n others).
        """
        import pandas as pd

        rows = [self._row(start, name, metric) for name in self.strategies]
        return pd.DataFrame(rows)

    def _row(
        self,
        start: str,
        strategy: str,
        metric: str | None,
    ) -> dict[str, Any]:
        cells = self.of(start, strategy)
        whole = self._whole(start, strategy)
        memory = [cell.memory for cell in whole if cell.memory is not None]
        epochs = [cell.epochs for cell in whole]
        seconds = [cell.seconds for cell in whole]
        scores = self.scores(start, strategy, metric)
        mean = Mean.of(list(scores.values()))
        # MIHA has no difference to itself.
        others = {} if strategy == REFERENCE else scores
        reference = self.scores(start, REFERENCE, metric)
        gap = Difference.of(reference, others)
        return {
            "strategy": strategy,
            "n": mean.count,
            "score": mean.value,
            "error": mean.error,
            "difference": gap.mean.value,
            "difference_error": gap.mean.error,
            "p": gap.p,
            "epochs": Mean.of(epochs).value,
            "seconds": Mean.of(seconds).value,
            "memory": Mean.of(memory).value,
            "failed": len(cells) - mean.count,
        }

    def at_equal_seconds(self, start: str) -> pd.DataFrame:
        """Return what each strategy had found when MIHA's run of the same seed ended.

        Args:
            start: Name of the start.

        Returns:
            Columns strategy, n, value (the best monitored one), error, difference (MIHA less it),
            difference_error, p, epochs (trained until then). A strategy that ended before MIHA is
            taken as it ended.
        """
        import pandas as pd

        seconds = {cell.place.seed: cell.seconds for cell in self._whole(start, REFERENCE)}
        reference, _ = self._found_within(start, REFERENCE, seconds)
        rows = []
        for strategy in self.strategies:
            values, epochs = self._found_within(start, strategy, seconds)
            mean = Mean.of(list(values.values()))
            gap = Difference.of(reference, {} if strategy == REFERENCE else values)
            row = {
                "strategy": strategy,
                "n": mean.count,
                "value": mean.value,
                "error": mean.error,
                "difference": gap.mean.value,
                "difference_error": gap.mean.error,
                "p": gap.p,
                "epochs": Mean.of(epochs).value,
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def _found_within(
        self,
        start: str,
        strategy: str,
        seconds: Mapping[int, float],
    ) -> tuple[Scores, list[int]]:
        """Return the best values within some seconds, by seed, and the epochs they took."""
        found = {}
        epochs = []
        for cell in self._whole(start, strategy):
            seed = cell.place.seed
            if seed not in seconds:
                continue
            values = cell.within(seconds[seed])
            epochs.append(len(values))
            best = better_of(self.about["mode"], values)
            if math.isfinite(best):
                found[seed] = best
        return found, epochs

    def _whole(
        self,
        start: str,
        strategy: str,
    ) -> list[Cell]:
        return [cell for cell in self.of(start, strategy) if not cell.failure]

    @cached_property
    def best_known(self) -> float:
        """The best score of any cell: what regret is counted from.

        It is that of one configuration with one seed, and luck is in it: it shifts all regrets
        alike.
        """
        scores: list[float] = []
        for strategy in self.strategies:
            scores += self._scores_from(self.starts, strategy)
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
            scores = self._scores_from(starts, strategy)
            found = regrets(self.metric_mode, self.best_known, scores)
            mean = Mean.of(found)
            cells = [cell for start in starts for cell in self.of(start, strategy)]
            row = {
                "strategy": strategy,
                "n": mean.count,
                "regret": mean.value,
                "error": mean.error,
                "worst": max(found, default=math.nan),
                "failed": len(cells) - mean.count,
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def _scores_from(
        self,
        starts: list[str],
        strategy: str,
    ) -> list[float]:
        found: list[float] = []
        for start in starts:
            found += self.scores(start, strategy).values()
        return found

    def to_markdown(self) -> str:
        """Return all tables as Markdown."""
        return str(_call("writing.markdown", self))

    def plot_epochs(self) -> go.Figure:
        """Plot the best monitored value so far against trained epochs."""
        return _call("figures.plot_epochs", self)

    def plot_seconds(self) -> go.Figure:
        """Plot the best monitored value so far against seconds."""
        return _call("figures.plot_seconds", self)

    def plot_scores(self) -> go.Figure:
        """Plot the test scores: a point for each seed, and the mean with its standard error."""
        return _call("figures.plot_scores", self)


def _call(function: str, *arguments: Any) -> Any:
    """Call a function of a module that shows comparisons."""
    # Those modules import this one, so they are imported when they are needed.
    module, name = function.split(".")
    found = import_module(f"miha.compare.{module}")
    return getattr(found, name)(*arguments)
