"""The harness of comparisons: with strategies that train nothing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rivals
from paths import ROOT, SUPPORT
from rivals import START, Absent, Crashing, Greedy, Idle, Interrupted, Rival

from miha.compare import Comparison, Miha, RandomSearch, Strategy, ThenTrain, compare, plan
from miha.compare.configurations import ConfigurationSpace, default_starts
from miha.compare.lines import lines_of
from miha.compare.machine import circumstances
from miha.compare.meter import BudgetSpent, Meter, peak_memory
from miha.compare.records import Place
from miha.compare.store import settings_of
from miha.compare.strategies.mutation import NeighbourMutation, Watch, mutations, schedule_of
from miha.errors import ArgumentError, JournalError, MihaError, RunExistsError
from miha.mutations.optimizers import BatchSizeMutation
from miha.records import Genome
from miha.space import SearchSpace
from miha.utils.optional import MissingPackageError

MIHA = Rival("MIHA", 0.8, 0.01)
BOTH = (MIHA, Rival())
STARTS = {"good": START, "random": None}


@pytest.fixture(autouse=True)
def nothing_has_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)  # Pictures take seconds.
    rivals.RAN.clear()
    rivals.INTERRUPTIONS.clear()


def run(folder: Path, strategies=BOTH, **arguments) -> Comparison:
    defaults = {"starts": STARTS, "epochs": 3, "seeds": 2, "score": rivals.score, "verbose": 0}
    defaults |= {"metric": "accuracy", "isolate": False, "logs": folder}
    return compare(rivals.build, rivals.data(), strategies, **(defaults | arguments))


def meter(folder: Path, limit: int = 2, **arguments) -> Meter:
    return Meter(folder, limit, arguments.pop("mode", "min"), time.time(), **arguments)


def test_every_cell_has_its_score_epochs_time_and_curve(tmp_path):
    comparison = run(tmp_path)
    assert len(comparison.cells) == 2 * 2 * 2
    for cell in comparison.cells:
        assert cell.epochs == 3 and cell.failure is None and cell.seconds >= 0
        assert [round(value, 3) for _, value in cell.curve] == [
            round(cell.curve[0][1] / epoch, 3) for epoch in (1, 2, 3)
        ]
    assert comparison.scores("good", "MIHA") == {0: 0.8, 1: 0.81}


def test_strategies_of_a_seed_get_the_same_start_and_other_seeds_another(tmp_path):
    run(tmp_path, seeds=3, starts={"random": None}, space=rivals.SPACE)
    starts = {(name, seed): start for name, seed, start in rivals.RAN}
    assert all(starts["MIHA", seed] == starts["rival", seed] for seed in range(3))
    assert len({starts["MIHA", seed] for seed in range(3)}) == 3


def test_a_named_start_is_the_users(tmp_path):
    run(tmp_path, starts={"mine": START})
    assert {start for _, _, start in rivals.RAN} == {START}


@pytest.mark.parametrize("isolate", [False, True])
def test_a_strategy_that_crashes_is_reported_and_the_others_go_on(tmp_path, isolate):
    comparison = run(tmp_path, [Crashing(), MIHA], starts={"mine": START}, seeds=1, isolate=isolate)
    crashed, other = comparison.cells
    assert crashed.failure == "RuntimeError: out of luck." and crashed.epochs == 1
    assert not crashed.scores and other.scores["accuracy"] == 0.8
    assert "failed: RuntimeError: out of luck." in comparison.to_markdown()
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
    assert "ended with status 1 before the cell began. A script that calls `compare`" in output
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


def test_a_strategy_that_lacks_its_package_is_left_out_with_a_line_that_says_so(tmp_path, capsys):
    comparison = run(tmp_path, [Absent(), MIHA], verbose=1)
    assert comparison.strategies == ["MIHA"]
    output = capsys.readouterr().out
    assert "absent is left out: no_such_package_anywhere is not installed; pip install" in output
    assert "absent: left out" in comparison.to_markdown()


def test_a_strategy_that_trains_too_long_or_nothing_fails(tmp_path):
    comparison = run(tmp_path, [Greedy(), Idle()], starts={"mine": START}, seeds=1)
    greedy, idle = comparison.cells
    assert greedy.failure.startswith("BudgetSpent") and greedy.epochs == 3
    assert idle.failure == "MihaError: A strategy must train. Received: no epoch."


def test_a_score_that_lacks_the_metric_is_a_failure(tmp_path):
    comparison = run(tmp_path, [MIHA], metric="f1", seeds=1, starts={"mine": START})
    assert "['accuracy', 'loss']" in comparison.cells[0].failure


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


def test_cells_that_ran_under_other_circumstances_are_told(tmp_path, monkeypatch):
    comparison = run(tmp_path, [MIHA], starts={"mine": START}, seeds=1)
    assert not comparison.differing
    monkeypatch.setattr(plan, "circumstances", lambda: {**circumstances(), "keras": "9.9"})
    comparison = run(tmp_path, [MIHA], starts={"mine": START}, seeds=2)
    assert list(comparison.differing) == ["keras"]
    assert "Not all cells ran alike: keras was 3" in comparison.to_markdown()
    assert ", 9.9 in 1." in comparison.to_markdown()


@pytest.mark.skipif(os.name == "nt", reason="it is a script of a shell")
def test_gpus_belong_to_the_circumstances(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100'\necho 'NVIDIA H200'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert circumstances()["gpu"] == "NVIDIA H100, NVIDIA H200"
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert "gpu" not in circumstances()


def test_a_score_that_is_not_finite_is_counted_and_the_others_are_averaged(tmp_path):
    @dataclass(frozen=True)
    class Diverging(Rival):
        def run(self, task):
            quality = super().run(task)
            return math.nan if task.seed == 1 else quality

    comparison = run(tmp_path, [MIHA, Diverging("wild")], starts={"mine": START}, seeds=3)
    _, row = comparison.table("mine").to_dict("records")
    assert (row["score"], row["n"], row["failed"]) == (0.5, 2, 1)
    assert row["difference"] == pytest.approx(0.31) and not math.isnan(row["error"])
    text = comparison.to_markdown()
    assert "- wild, start mine, seed 1: accuracy is not finite." in text
    assert "| n | failed | epochs |" in text
    points = [t for t in comparison.plot_scores().data if t.text and "wild" in t.text[0]]
    assert [text[-14:] for text in points[0].text] == ["seed 0: 0.5000", "seed 2: 0.5000"]
    assert comparison.regret()["failed"].tolist() == [0, 1]


def test_without_scipy_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingPackageError):
        run(tmp_path / "folder")
    assert not rivals.RAN and not (tmp_path / "folder").exists()


def test_a_strategy_with_other_settings_is_run_again(tmp_path):
    run(tmp_path, [MIHA])
    comparison = run(tmp_path, [Rival("MIHA", 0.9)])
    assert set(comparison.scores("good", "MIHA").values()) == {0.9}


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


def test_a_start_that_widens_the_space_is_told_to(tmp_path):
    run(tmp_path, [MIHA], starts={"mine": START})
    wide = START.replace(learning_rate=0.9)
    with pytest.raises(RunExistsError, match="A start that the space did not hold widens it"):
        run(tmp_path, [MIHA], starts={"mine": START, "wide": wide})


def test_cells_have_files_of_their_own_whatever_they_are_called():
    places = [Place("a b", "c", 0), Place("a-b", "c", 0), Place("a", "b-c", 0), Place("a", "b", 0)]
    assert len({place.file for place in places}) == 4
    assert places[3].file.startswith("a-b-0-")


def test_the_default_starts_are_a_good_a_poor_and_a_random_one_of_the_space(tmp_path):
    comparison = run(tmp_path, [MIHA], starts=None, space=rivals.SPACE, seeds=1)
    assert comparison.starts == ["good", "poor", "random"]
    assert comparison.about["random_starts"] == ["random"]
    narrow = SearchSpace(
        layers=["hidden"], optimizers=["lion"], activations=["tanh"], batch_size=(64, 64),
        learning_rate=(0.1, 0.2),
    )  # fmt: skip
    good = default_starts(narrow)["good"]
    assert good == Genome("lion", 0.1, 64, (("hidden", "tanh"),))
    assert ConfigurationSpace.of(narrow, [good]) == ConfigurationSpace.of(narrow, [])


def test_cells_that_failed_are_tried_again(tmp_path):
    for _ in range(2):
        comparison = run(tmp_path, [Crashing()], starts={"mine": START}, seeds=1)
    assert len(rivals.RAN) == 2 and len(comparison.cells) == 1


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


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epochs": 1}, "`epochs` must be an integer, at least 2"),
        ({"strategies": ["nonsense"]}, "must be one of"),
        ({"strategies": [MIHA, MIHA]}, "with different names"),
        ({"mode": "big"}, "`mode` must be 'min', 'max' or 'auto'"),
        ({"starts": {"a": None}}, "Give one start"),
        ({"starts": {"a": START, "b": Genome("sgd", 0.1, 8)}}, "the same layers"),
        ({"starts": {"a": START.replace(learning_rate=None)}}, "must have a learning rate"),
        ({"seeds": []}, "`seeds` must be"),
        ({"time_limit": 0}, "`time_limit` must be a number above 0"),
    ],
)
def test_arguments_that_break_a_rule_are_refused_before_anything_is_written(
    tmp_path, arguments, message
):
    with pytest.raises(ArgumentError, match=message):
        run(tmp_path / "folder", **arguments)
    assert not (tmp_path / "folder").exists()


def test_data_without_a_test_part_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="`data` must be three pairs"):
        compare(rivals.build, rivals.data()[:2], [MIHA], logs=tmp_path / "x", starts=STARTS)


def test_the_folder_reproduces_tables_and_figures(tmp_path):
    comparison = run(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.cells == comparison.cells and again.to_markdown() == comparison.to_markdown()
    assert (tmp_path / "tables.md").read_text() == comparison.to_markdown()
    for name in ("epochs", "seconds", "scores"):
        figure = getattr(again, f"plot_{name}")()
        assert figure.to_json() == getattr(comparison, f"plot_{name}")().to_json()
        assert (tmp_path / f"{name}.html").exists()
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_scores_that_are_not_finite_survive_the_file(tmp_path):
    run(tmp_path, [Rival("MIHA", math.nan)], starts={"mine": START}, seeds=1)
    cell = Comparison.load(tmp_path).cells[0]
    assert math.isnan(cell.scores["accuracy"]) and math.isnan(cell.curve[0][1])
    assert "NaN" not in json.dumps(json.loads((tmp_path / "comparison.json").read_text()))


def test_a_meter_gives_no_more_tickets_than_its_limit(tmp_path):
    one, other = meter(tmp_path), meter(tmp_path)
    one.take()
    other.take()
    assert one.is_over and one.taken == 2
    with pytest.raises(BudgetSpent, match="2 epochs at most"):
        other.take()


def test_a_meter_is_over_when_its_time_is(tmp_path):
    late = Meter(tmp_path, 9, "min", time.time() - 10, time_limit=5.0)
    assert late.is_over and not meter(tmp_path, 9, time_limit=5.0).is_over
    late.take()  # A network that was being built meanwhile trains one epoch.
    assert late.taken == 1


@pytest.mark.parametrize("mode, best", [("min", 0.1), ("max", 0.9)])
def test_a_meter_keeps_the_network_with_the_best_value(tmp_path, mode, best):
    one = meter(tmp_path, mode=mode)
    values = [math.nan, 0.5, 0.1, math.inf, 0.9, 0.3, math.nan]
    for value in values:
        genome = START.replace(learning_rate=value)
        one.offer(value, genome, lambda value=value: [[value]])
    found = one.best()
    assert found.value == best == found.genome.learning_rate == found.weights[0][0]


def test_a_meter_keeps_the_earlier_network_whole_while_a_better_one_is_written(
    tmp_path, monkeypatch
):
    one = meter(tmp_path)
    one.offer(0.5, START, lambda: [np.zeros(3)])

    def killed(*arguments, **more):
        arguments[0].write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        one.offer(0.1, START, lambda: [np.ones(3)])
    assert one.best().value == 0.5 and not one.best().weights[0].any()


def test_a_meter_is_settled_when_every_epoch_that_has_begun_is_written_down(tmp_path):
    one, other = meter(tmp_path), meter(tmp_path)
    one.take()
    other.take()
    one.record(0.5)
    assert one.is_over and not one.is_settled  # The other one is in the middle of its epoch.
    other.record(0.4)
    assert one.is_settled


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no such file")
def test_the_peak_of_memory_is_the_childs_and_not_its_parents(tmp_path):
    large = np.ones(50_000_000)
    code = "from miha.compare.meter import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 1 < float(child.stdout) < large.nbytes / 1e6 < peak_memory()


def test_a_meter_without_a_network_says_what_to_do(tmp_path):
    with pytest.raises(MihaError, match="task.build"):
        meter(tmp_path).best()


def test_lines_are_those_of_code_alone():
    def something():
        """Document."""
        # Comment.

        text = """two
        lines"""
        return text

    assert lines_of(something) == 4
    assert Rival().lines == 7 and issubclass(Greedy, Strategy) and Greedy().lines == 7 + 3


def helped(value: float) -> float:
    """Help."""
    return helped_further() if value else value


def helped_further() -> float:
    return 0.5


def test_the_code_beside_a_strategy_that_it_uses_counts():
    @dataclass(frozen=True)
    class Helped(Strategy):
        name: str = "helped"

        def run(self, task):
            return [helped(value) for value in (0.0, 1.0)]

        def obstacle(self, space, epochs):
            return None

        def __replace__(self, **changes):  # As Python 3.13 writes it.
            return self

    assert Helped().lines == 2 + 2 + 2
    parts = (Watch, mutations, schedule_of, NeighbourMutation)
    assert Miha().lines > sum(map(lines_of, parts)) > 30


def test_a_space_holds_what_the_starts_have():
    odd = Genome("adamax", 0.5, 24, (("hidden", "hard_tanh"),))
    space = ConfigurationSpace.of(SearchSpace(batch_size=(8, 64), learning_rate=(0.1, 0.2)), [odd])
    assert space.batch_sizes == (8, 16, 24, 32, 64) and space.learning_rate == (0.1, 0.5)
    assert "adamax" in space.optimizers and "hard_tanh" in space.activations
    assert space.genome(space.values(odd)) == odd
    large = ConfigurationSpace.of(SearchSpace(batch_size=(8, 16)), [odd.replace(batch_size=100)])
    assert large.batch_sizes == (8, 16, 32, 64, 100)
