"""What happened in a run, as the journal has it, and the two tables made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.journal import write_whole
from miha.records import Network

if TYPE_CHECKING:
    import pandas as pd

Entry = Mapping[str, Any]


@dataclass
class Logbook:
    """The journal's entries.

    Attributes:
        trainings: One entry for each finished training, in order.
        winners: The selected clone of each cycle; None if all had lost.
    """

    trainings: list[Entry] = field(default_factory=list)
    winners: dict[int, int | None] = field(default_factory=dict)

    def add(self, network: Network) -> Entry:
        """Note a finished training; return the journal's entry."""
        entry = {"event": "training", **network.describe()}
        self.trainings.append(entry)
        return entry

    def select(self, cycle: int, clone: int | None) -> Entry:
        """Note which clone of a cycle was selected; return the journal's entry."""
        self.winners[cycle] = clone
        return {"event": "selection", "cycle": cycle, "clone": clone}

    def copy(self) -> Logbook:
        """Return a copy that does not grow."""
        return Logbook(list(self.trainings), dict(self.winners))

    def clones(self, cycle: int) -> list[dict[str, Any]]:
        """Return the rows of the lineage of one cycle."""
        return [row for row in self._lineage() if row["cycle"] == cycle]

    @property
    def history(self) -> pd.DataFrame:
        """One row for each trained epoch: phase, cycle, clone, epoch, values, seconds."""
        import pandas as pd

        frame = pd.DataFrame([row for entry in self.trainings for row in _epochs(entry)])
        values = [c for c in frame.columns if c not in (*_PLACE, "seconds")]
        return _typed(frame[[*_PLACE, *values, "seconds"]])

    @property
    def lineage(self) -> pd.DataFrame:
        """One row for each clone: what changed, how fit it was, whether it was selected."""
        import pandas as pd

        return _typed(pd.DataFrame(self._lineage(), columns=list(_LINEAGE)))

    def _lineage(self) -> list[dict[str, Any]]:
        clones = [entry for entry in self.trainings if entry["phase"] == "clone"]
        return [
            {
                "cycle": entry["cycle"],
                "clone": entry["clone"],
                "change": entry["change"]["text"],
                "fitness": entry["fitness"],
                "selected": self.winners.get(entry["cycle"]) == entry["clone"],
                "archive": entry["archive"],
                "gene": entry["change"]["gene"],
                "value": entry["value"],
                "parent": entry["parent"],
            }
            for entry in clones
        ]


_PLACE = ("phase", "cycle", "clone", "epoch")
_LINEAGE = (
    *("cycle", "clone", "change", "fitness", "selected", "archive"),
    *("gene", "value", "parent"),
)


def write_tables(log: Logbook, folder: Path) -> None:
    """Write `history.csv` and `lineage.csv` into a folder."""
    for name in ("history", "lineage"):
        table: pd.DataFrame = getattr(log, name)
        write_whole(folder / f"{name}.csv", table.to_csv(index=False).encode())


def _epochs(entry: Entry) -> list[dict[str, Any]]:
    place = {key: entry[key] for key in ("phase", "cycle", "clone")}
    first = entry["first_epoch"]
    return [{**place, "epoch": first + i, **logs} for i, logs in enumerate(entry["epochs"])]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({key: "Int64" for key in ("cycle", "clone")})
