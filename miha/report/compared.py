"""Several runs together: their settings side by side, and the best so far of all in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.errors import ArgumentError
from miha.report.content import named_figure, pairs
from miha.report.page import page
from miha.results.reader import load_run
from miha.results.result import Result
from miha.results.summary import duration, short, starting_genes
from miha.results.trials import RunView
from miha.storage.disk import placed, write_whole
from miha.storage.folder import RunFolder
from miha.visualization.best import names_of, plot_best

MARK = "≠"
"""What stands before a line in which the runs differ."""


@dataclass(frozen=True)
class RunsCompared:
    """Several runs side by side.

    Attributes:
        results: The runs.
        names: What to call each.
        outcomes: What became of them, in lines of a name and a text for each run.
        settings: What they were given, in such lines.
    """

    results: Sequence[Result]
    names: Sequence[str]
    outcomes: Sequence[Sequence[str]]
    settings: Sequence[Sequence[str]]

    @classmethod
    def of(cls, folders: Sequence[Path]) -> RunsCompared:
        """Return the runs of some folders.

        Raises:
            ArgumentError: They are fewer than two.
            JournalError: One holds no run, or it is damaged.
        """
        if len(folders) < 2:
            raise ArgumentError(
                "Two runs or more must be compared. "
                f"Received: {len(folders)}. Name the folders of others, too."
            )
        results = [load_run(folder) for folder in folders]
        outcomes = _side_by_side([_outcome(result) for result in results])
        settings = _side_by_side([_settings(result) for result in results])
        return cls(results, names_of(results), outcomes, settings)

    def print(self) -> None:
        """Print the runs; a line in which they differ is marked."""
        console = Console(highlight=False)
        table = Table("", "", *map(escape, self.names))
        for rows in (self.outcomes, self.settings):
            for row in rows:
                is_other = differs(row)
                # Text of a run may look like the markup of the terminal.
                cells = map(escape, row)
                table.add_row(MARK if is_other else "", *cells, style="bold" if is_other else "dim")
            table.add_section()
        console.print(table)

    def write(self, path: Path) -> Path:
        """Write one self-contained HTML page: the figure of the best so far, and the table.

        Returns:
            The file.

        Raises:
            StorageError: It cannot be written.
            MissingPackageError: Plotly is not installed.
        """
        text = page("Runs compared", self._content())
        with placed(path):
            write_whole(path, text.encode())
        return path

    def _content(self) -> dict[str, Any]:
        other = [row[0] for row in self.settings if differs(row)]
        same = len(self.settings) - len(other)
        found = ", ".join(other) or "nothing"
        caption = (
            "The best value of a network at the end of a training, over all epochs that were "
            "trained, and over seconds."
        )
        figure = named_figure("best", caption, lambda: plot_best(self.results))
        return {
            "title": "Runs compared",
            "folder": ", ".join(str(result.run_dir.absolute()) for result in self.results),
            "state": f"{len(self.results)} runs",
            "verdict": {"sentences": [], "commands": {}},
            "summary": [f"They differ in: {found}. {same} settings are the same."],
            "genes_title": "Outcomes and settings",
            "genes_heads": ["", *self.names],
            "genes": [*self.outcomes, *self.settings],
            "metrics": [],
            "figures": [figure],
            "table": {"columns": [], "first": 0, "rows": []},
            "arguments": [],
            "versions": [],
        }


def differs(row: Sequence[str]) -> bool:
    """Return whether a line of a comparison is not the same for all runs."""
    return len(set(row[1:])) > 1


def _side_by_side(columns: Sequence[dict[str, str]]) -> list[list[str]]:
    """Return a line for each name that a run has; what another run lacks is a dash."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "–") for column in columns)] for name in names]


def _outcome(result: Result) -> dict[str, str]:
    view = RunView.of(result)
    epochs = sum(len(trial.record.epochs) for trial in view.trials)
    seconds = sum(trial.record.wall_seconds for trial in view.trials)
    last = view.main_line[-1].value_in_words if view.main_line else "nan"
    best = view.best_network.value_in_words if view.best_network else "nan"
    return {
        "state": result.state,
        f"best {result.monitor}": best,
        f"last {result.monitor}": last,
        "cycles": str(view.cycles_done),
        "epochs trained": str(epochs),
        "time": duration(seconds),
    }


def _settings(result: Result) -> dict[str, str]:
    description = RunFolder(result.run_dir).description()
    found = dict(pairs(description.get("arguments", {})))
    genes = starting_genes(RunView.of(result), description)
    found |= {f"starts with {name}": short(value) for name, value in genes.items()}
    circumstances: dict[str, Any] = {}
    for name in ("seed", "device", "versions", "fingerprint"):
        if name in description:
            circumstances[name] = description[name]
    return found | dict(pairs(circumstances))
