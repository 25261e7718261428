"""Cells: failures, processes, attempts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import rivals
from compared import MIHA, run
from paths import ROOT, SUPPORT
from rivals import START, Crashing, Greedy, Idle, Rival

from miha.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("nothing_has_run")


def test_every_cell_has_its_score_epochs_time_and_curve(tmp_path):
    comparison = run(tmp_path)
    assert len(comparison.cells) == 2 * 2 * 2
    for cell in comparison.cells:
        assert cell.epochs == 3 and cell.failure is None and cell.seconds >= 0
        assert [round(value, 3) for _, value in cell.curve] == [
            round(cell.curve[0][1] / epoch, 3) for epoch in (1, 2, 3)
        ]
    assert comparison.scores("good", "MIHA") == {0: 0.8, 1: 0.81}


@pytest.mark.parametrize("isolate", [False, True])
def test_a_strategy_that_crashes_is_reported_and_the_others_go_on(tmp_path, isolate):
    comparison = run(tmp_path, [Crashing(), MIHA], starts={"mine": START}, seeds=1, isolate=isolate)
    crashed, other = comparison.cells
    assert crashed.failure == "RuntimeError: out of luck and more." and crashed.epochs == 1
    assert not crashed.scores and other.scores["accuracy"] == 0.8
    assert "failed: RuntimeError: out of luck and more." in comparison.to_markdown()
    assert comparison.table("mine")["failed"].tolist() == [1, 0]
    [path] = (tmp_path / "failures").iterdir()
    assert path.stem == crashed.place.file and "in run" in path.read_text()


def test_a_strategy_whose_process_dies_is_reported_and_the_others_go_on(tmp_path):
    strategies = [Crashing(status=7), MIHA]
    comparison = run(tmp_path, strategies, starts={"mine": START}, seeds=1, isolate=True)
    assert "status 7" in comparison.cells[0].failure
    assert "these were its last words" in comparison.cells[0].failure
    assert comparison.cells[0].epochs == 1
    assert comparison.cells[1].scores["accuracy"] == 0.8


def test_a_strategy_that_trains_too_long_or_nothing_fails(tmp_path):
    comparison = run(tmp_path, [Greedy(), Idle()], starts={"mine": START}, seeds=1)
    greedy, idle = comparison.cells
    assert greedy.failure.startswith("BudgetSpent") and greedy.epochs == 3
    assert idle.failure == "MihaError: A strategy must train. Received: no epoch."


def test_a_score_that_lacks_the_metric_is_a_failure(tmp_path):
    comparison = run(tmp_path, [MIHA], metric="f1", seeds=1, starts={"mine": START})
    assert "['accuracy', 'loss']" in comparison.cells[0].failure


def test_what_is_told_of_a_failure_goes_when_the_cell_succeeds(tmp_path):
    class Moody(Rival):
        def run(self, task):
            if not rivals.RAN:
                rivals.RAN.append("failed")
                raise RuntimeError
            return super().run(task)

    told = []
    for _ in range(2):
        run(tmp_path, [Moody()], starts={"mine": START}, seeds=1)
        told.append(len(list((tmp_path / "failures").iterdir())))
    assert told == [1, 0]


def test_what_an_earlier_attempt_left_or_still_writes_is_not_of_the_next_one(tmp_path):
    folders = []

    @dataclass(frozen=True)
    class Twice(Rival):
        def run(self, task):
            folders.append(task.folder)
            if len(folders) == 1:
                raise RuntimeError("the first attempt")
            folders[0].mkdir(parents=True, exist_ok=True)
            (folders[0] / "tickets").write_bytes(b"...")  # As an orphan would.
            return super().run(task)

    for _ in range(2):
        [cell] = run(tmp_path, [Twice()], starts={"mine": START}, seeds=1).cells
    assert folders[0] != folders[1] and cell.failure is None and cell.epochs == 3


def test_what_cannot_be_sent_to_a_process_is_refused_with_the_cure(tmp_path):
    with pytest.raises(ArgumentError, match="isolate=False"):
        run(tmp_path, score=lambda model, x, y: {"accuracy": 1.0}, isolate=True)


SCRIPT = """
import sys
import numpy as np
import rivals
from miha.compare import compare

def main():
    x = np.zeros((100_000, 2))  # More than a pipe holds.
    data = ((x, x), *rivals.data()[1:])
    comparison = compare(rivals.build, data, [rivals.{strategy}()], starts={{"mine": rivals.START}},
                         epochs=3, seeds=1, score=rivals.score, metric="accuracy",
                         logs=sys.argv[1])
    print(comparison.cells[0].failure)

{call}
"""


def script(folder: Path, strategy: str, call: str) -> subprocess.Popen[str]:
    """Start a script that compares in the folder ``logs``."""
    (folder / "script.py").write_text(SCRIPT.format(strategy=strategy, call=call))
    here = SUPPORT
    return subprocess.Popen(
        [sys.executable, folder / "script.py", folder / "logs"],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(ROOT)])},
    )


def test_a_script_without_a_guard_is_told_so_and_does_not_hang(tmp_path):
    process = script(tmp_path, "Rival", "main()")
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "ended with status 1 before the cell began. A script that starts processes" in output
    assert "ArgumentError" in output and "Received: a call from such a process" in output


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_a_cell_ends_with_the_comparison_that_is_killed(tmp_path):
    process = script(tmp_path, "Endless", 'if __name__ == "__main__":\n    main()')
    notes = tmp_path / "logs" / "running"
    assert eventually(notes.exists)
    pid, folder = notes.read_text().splitlines()
    process.kill()
    process.wait()
    process.stdout.close()  # Its helpers hold it open: reading would wait for the cell's end.
    assert eventually(lambda: not is_alive(int(pid)), seconds=20)
    assert (Path(folder) / "tickets").exists()  # Nobody could clean up.


def eventually(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.time() + seconds
    while not is_so() and time.time() < end:
        time.sleep(0.02)
    return is_so()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for is dead, too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return Path("/proc").exists() is False
