"""Real processes, really killed: what is resumed ends as what was never interrupted."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from child import search, story
from paths import SUPPORT

from miha import Callback, load_run


class Nursery:
    """A process that makes children, each of which runs MIHA."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, SUPPORT / "child.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def run(self, folder, patience: float, number: int = signal.SIGKILL, file: str = "") -> int:
        """Run in a folder; send the child a signal some seconds after it, or a file, is there."""
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        word, pid = self._process.stdout.readline().split()
        if word == "ended":
            return int(pid)
        deadline = time.monotonic() + 60
        while file and not (folder / file).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(patience)
        with contextlib.suppress(ProcessLookupError):  # It has come to its end.
            os.kill(int(pid), number)
        word, status = self._process.stdout.readline().split()
        assert word == "ended"
        return int(status)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "errors.txt")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The story of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    search(folder).optimize()
    return story(folder)


def kill_again_and_again(path, nursery, expected, most):
    """Check that runs which are killed so often end as one never interrupted."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng, kills, runs = random.Random(seed), 0, 0
    while kills < most:
        folder, patience = path / f"{runs}", 0.5
        while (status := nursery.run(folder, rng.uniform(0, patience))) != 0:
            assert status == -signal.SIGKILL
            kills += 1
            patience *= 1.2  # So that every run comes to its end.
        assert story(folder) == expected
        shutil.rmtree(folder)
        runs += 1
    print(kills, "kills in", runs, "runs")


def test_a_run_killed_again_and_again_ends_as_one_never_interrupted(tmp_path, nursery, whole):
    kill_again_and_again(tmp_path, nursery, whole, 3)


@pytest.mark.slow
def test_runs_killed_forty_times_end_as_one_never_interrupted(tmp_path, nursery, whole):
    kill_again_and_again(tmp_path, nursery, whole, 40)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_run_that_is_asked_to_stop_says_how_it_goes_on(tmp_path, nursery, whole, number, status):
    folder = tmp_path / "run"
    assert nursery.run(folder, 0.1, number, file="run.log") == status
    said = [line for line in nursery.errors.read_text().splitlines() if "Stopped." in line]
    assert "Run the same script again" in said[-1]
    assert str(folder) in said[-1]
    assert "Stopped." in (folder / "run.log").read_text()
    assert not list(folder.rglob("*.part"))
    result = load_run(folder)
    assert result.state == "interrupted"
    assert (
        f"{len(result.history.groupby(['phase', 'cycle', 'clone'], dropna=False))} of at most 10"
        in (said[-1])
    )
    search(folder).optimize()
    assert story(folder) == whole


def test_a_second_process_is_refused_with_the_firsts_number_and_host(tmp_path, nursery):
    refused = []

    class Second(Callback):
        def on_training_begin(self, task):
            if task.phase == "initial":
                refused.append(nursery.run(tmp_path / "run", 0.0, 0))

    search(tmp_path / "run", callbacks=[Second()]).optimize()
    assert refused == [1]
    error = nursery.errors.read_text()
    assert "RunLockedError: Only one process may work in a run's folder. Received: logs=" in error
    assert f"process {os.getpid()} on {socket.gethostname()} is at work" in error
