"""The cells on the disk: what is run again, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import rivals
from compared import MIHA, STARTS, run
from rivals import START, Crashing, Interrupted, Rival

from miha.compare import Miha, RandomSearch, Strategy, ThenTrain, compare
from miha.compare.records import Cell, Place
from miha.compare.store import settings_of
from miha.errors import JournalError, RunExistsError
from miha.mutations.optimizers import BatchSizeMutation

pytestmark = pytest.mark.usefixtures("nothing_has_run")


def test_a_comparison_that_was_interrupted_goes_on_where_it_stopped(tmp_path):
    strategies = [MIHA, Interrupted()]
    rivals.INTERRUPTIONS[:] = [True, False]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, strategies)
    done = [(name, seed) for name, seed, _ in rivals.RAN]
    assert done == [("MIHA", 0), ("rival", 0), ("MIHA", 0)]
    comparison = run(tmp_path, strategies)
    assert [(name, seed) for name, seed, _ in rivals.RAN[3:]] == [
        ("rival", 0),
        *[("MIHA", 1), ("rival", 1)] * 2,
    ]
    assert comparison.cells == run(tmp_path, strategies).cells
    assert len(rivals.RAN) == 8


def test_more_seeds_starts_and_strategies_may_be_added(tmp_path):
    run(tmp_path, [MIHA], seeds=1, starts={"mine": START})
    comparison = run(tmp_path, [MIHA, Rival()], seeds=2, starts={"mine": START, "random": None})
    assert len(rivals.RAN) == 1 + 7 and len(comparison.cells) == 8


def test_settings_of_a_strategy_are_told_apart_whatever_they_look_like():
    first, second = (Miha(options={"mutations": [BatchSizeMutation(step=n)]}) for n in (10, 50))
    assert settings_of(first) != settings_of(second)
    assert settings_of(first) == settings_of(
        Miha(options={"mutations": [BatchSizeMutation(step=10)]})
    )
    assert settings_of(ThenTrain("a", RandomSearch(trial_epochs=1), 4)) != settings_of(
        ThenTrain("a", RandomSearch(trial_epochs=2), 4)
    )
    mutation = BatchSizeMutation()
    mutation.own = mutation
    assert "itself" in str(settings_of(mutation))
    one, other = (Miha(options={"fitness": f}) for f in (lambda x: x, lambda x: -x))
    assert settings_of(one) != settings_of(other)


def test_a_strategy_whose_code_has_changed_is_run_again(tmp_path):
    def strategy(step: int) -> Strategy:
        @dataclass(frozen=True)
        class Edited(Rival):
            def run(self, task):
                return super().run(task) + step

        return Edited()

    for step in (0, 0, 1):
        [cell] = run(tmp_path, [strategy(step)], starts={"mine": START}, seeds=1).cells
    assert len(rivals.RAN) == 2 and cell.scores["accuracy"] == 1.5


def test_a_strategy_with_other_settings_is_run_again(tmp_path):
    run(tmp_path, [MIHA])
    comparison = run(tmp_path, [Rival("MIHA", 0.9)])
    assert set(comparison.scores("good", "MIHA").values()) == {0.9}


def test_cells_that_failed_are_tried_again(tmp_path):
    for _ in range(2):
        comparison = run(tmp_path, [Crashing()], starts={"mine": START}, seeds=1)
    assert len(rivals.RAN) == 2 and len(comparison.cells) == 1


def test_a_start_that_widens_the_space_is_told_to(tmp_path):
    run(tmp_path, [MIHA], starts={"mine": START})
    wide = START.replace(learning_rate=0.9)
    with pytest.raises(RunExistsError, match="A start that the space did not hold widens it"):
        run(tmp_path, [MIHA], starts={"mine": START, "wide": wide})


@pytest.mark.parametrize("change", [{"epochs": 4}, {"monitor": "val_acc"}, {"time_limit": 9.0}])
def test_another_comparison_in_the_folder_is_refused_by_what_differs(tmp_path, change):
    run(tmp_path)
    with pytest.raises(RunExistsError, match=f"{next(iter(change))} is .* and not"):
        run(tmp_path, **change)
    assert len(run(tmp_path, overwrite=True, **change).cells) == 8


@pytest.mark.parametrize("part", range(3))
def test_other_data_are_another_comparison(tmp_path, part):
    run(tmp_path)
    parts = list(rivals.data())
    parts[part] = parts[part][0] + 1, parts[part][1]
    with pytest.raises(RunExistsError, match="data is"):
        compare(
            *(rivals.build, tuple(parts), [MIHA]),
            **{"starts": STARTS, "epochs": 3, "score": rivals.score, "metric": "accuracy"},
            **{"isolate": False, "logs": tmp_path, "verbose": 0},
        )


def test_a_damaged_file_of_cells_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "cells.jsonl"
    path.write_text(path.read_text().replace("0.81", "0.99"))
    with pytest.raises(JournalError, match="checksum"):
        run(tmp_path)


def test_cells_have_files_of_their_own_whatever_they_are_called():
    places = [Place("a b", "c", 0), Place("a-b", "c", 0), Place("a", "b-c", 0), Place("a", "b", 0)]
    assert len({place.file for place in places}) == 4
    assert places[3].file.startswith("a-b-0-")


def test_the_lines_of_code_in_older_files_are_ignored():
    values = Cell(Place("a", "b", 0), {"loss": 0.5}, curve=((1.0, 0.5),)).to_dict()
    assert Cell.from_dict({**values, "lines": 33}) == Cell.from_dict(values)
