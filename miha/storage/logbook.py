"""What happened in a run, as the journal has it, and the two tables made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import JournalError
from miha.records import Genome, Mode, Network, Task
from miha.storage.disk import write_whole
from miha.storage.journal import Entry
from miha.utils.json_values import numbers

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Logbook:
    """The journal's entries.

    Attributes:
        trainings: One entry for each finished training, in order.
        winners: The selected clone of each cycle; None if all had lost.
        late: The clones of each cycle that had not come when it selected, in or not since.
        stopped: Why the run went to its end before its last cycle, if it did.
        is_finished: Whether the run has come to its end.
    """

    trainings: list[Entry] = field(default_factory=list)
    winners: dict[int, int | None] = field(default_factory=dict)
    is_finished: bool = False
    stopped: str | None = None
    late: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Logbook:
        """Return the logbook of a journal's entries; events of other kinds are passed over."""
        log = cls()
        for entry in entries:
            if entry["event"] == "training":
                log.trainings.append(_with_numbers(entry))
            elif entry["event"] == "selection":
                log.select(entry["cycle"], entry["clone"], tuple(entry.get("late", ())))
            elif entry["event"] == "stop":
                log.stopped = entry["reason"]
            elif entry["event"] == "end":
                log.is_finished = True
        return log

    def add(self, network: Network) -> Entry:
        """Note a finished training; return the journal's entry."""
        entry = {"event": "training", **network.describe()}
        self.trainings.append(entry)
        return entry

    def select(self, cycle: int, clone: int | None, late: tuple[int, ...] = ()) -> Entry:
        """Note which clone of a cycle was selected; return the journal's entry.

        Args:
            cycle: 1 to c.
            clone: None if all have lost.
            late: The clones that had not come by then, and so did not compete.
        """
        self.winners[cycle] = clone
        entry = {"event": "selection", "cycle": cycle, "clone": clone}
        if not late:
            return entry
        self.late[cycle] = late
        return entry | {"late": list(late)}

    def stop(self, reason: str) -> Entry:
        """Note why no further cycle is begun; return the journal's entry."""
        self.stopped = reason
        return {"event": "stop", "reason": reason}

    def end(self) -> Entry:
        """Note that the run has come to its end; return the journal's entry."""
        self.is_finished = True
        return {"event": "end"}

    def find(self, number: int, task: Task) -> Entry | None:
        """Return the entry of a training, if it is finished.

        Args:
            number: How many trainings the run has finished before it.
            task: The training.

        Raises:
            JournalError: The journal tells of another training in that place.
        """
        entry = self.trainings[number] if number < len(self.trainings) else None
        if entry is not None and not _is_of(task, entry):
            raise JournalError(
                f"The journal must tell of this run. Received: training {number + 1} with "
                f"{Genome.from_dict(entry['genome'])}, where this run has {task.genome}. "
                "A mutation must draw from its `rng` alone; else the run was begun with another "
                "version of MIHA: begin anew with overwrite=True."
            )
        return entry

    def copy(self) -> Logbook:
        """Return a copy that does not grow."""
        return replace(
            self, trainings=[*self.trainings], winners={**self.winners}, late={**self.late}
        )

    @property
    def counted(self) -> list[Entry]:
        """The trainings without the clones that were late: what a run decides by.

        When a late clone comes is a matter of time, which no decision shall depend on.
        """
        return [entry for entry in self.trainings if not entry.get("late")]

    def clones(self, cycle: int) -> list[dict[str, Any]]:
        """Return the rows of the lineage of one cycle."""
        return [row for row in self._lineage() if row["cycle"] == cycle]

    def has_given_up(self, cycle: int, patience: int = 3) -> bool:
        """Tell whether every clone has failed in each of the last cycles."""
        cycles = range(cycle - patience + 1, cycle + 1)
        return all(self.winners.get(c, 0) is None for c in cycles)

    @property
    def last(self) -> Entry | None:
        """The entry of the network itself after its last training, no clone."""
        return next((e for e in reversed(self.trainings) if e["phase"] != "clone"), None)

    @property
    def held(self) -> Entry | None:
        """The entry of the network that the last archive holds: the last, or a restored one."""
        last = self.last
        restored = None if last is None else last.get("restored")
        return next((e for e in self.trainings if restored and e["archive"] == restored), last)

    def best(self, mode: Mode, of_network: bool = False, counted: bool = False) -> Entry | None:
        """Return the entry with the best value, the first of equals.

        Args:
            mode: Whether a value is better small or large.
            of_network: Whether clones that were not selected are left out.
            counted: Whether clones that were late are left out.
        """
        sign = 1 if mode == "min" else -1
        entries = self.counted if counted else self.trainings
        finite = [entry for entry in entries if math.isfinite(entry["value"])]
        if of_network:
            finite = [entry for entry in finite if self._is_of_network(entry)]
        best = min(finite, key=lambda entry: sign * entry["value"], default=None)
        return best or next(iter(entries), None)

    def _is_of_network(self, entry: Entry) -> bool:
        return entry["phase"] != "clone" or bool(self.winners.get(entry["cycle"]) == entry["clone"])

    @property
    def history(self) -> pd.DataFrame:
        """One row for each trained epoch: phase, cycle, clone, epoch, values, seconds."""
        import pandas as pd

        rows = [row for entry in self.trainings for row in _epochs(entry)]
        frame = pd.DataFrame(rows, columns=None if rows else [*_PLACE, "seconds"])
        values = [c for c in frame.columns if c not in (*_PLACE, "seconds")]
        return _typed(frame[[*_PLACE, *values, "seconds"]])

    @property
    def lineage(self) -> pd.DataFrame:
        """One row for each clone: what changed, how fit it was, whether it was selected.

        In the order of cycles and clones, whenever they came.
        """
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
                "mate": entry["change"].get("mate"),
                "failure": entry["failure"] and entry["failure"].strip().splitlines()[-1],
                "late": bool(entry.get("late")),
            }
            for entry in sorted(clones, key=lambda entry: (entry["cycle"], entry["clone"]))
        ]


def _is_of(task: Task, entry: Entry) -> bool:
    place = (task.phase, task.cycle, task.clone, task.genome.to_dict())
    return place == tuple(entry[key] for key in ("phase", "cycle", "clone", "genome"))


def _with_numbers(entry: Entry) -> Entry:
    keys = [key for key in ("value", "start", "fitness", "epochs") if key in entry]
    return {**entry, **numbers({key: entry[key] for key in keys})}


_PLACE = ("phase", "cycle", "clone", "epoch")
_LINEAGE = (
    *("cycle", "clone", "change", "fitness", "selected", "archive"),
    *("gene", "value", "parent", "mate", "failure", "late"),
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
