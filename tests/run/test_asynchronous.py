"""`asynchronous`: who competes, what becomes of late clones, and that the journal decides."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from executor_contract import AsynchronousContract, decisions, whole
from fakes import GENOME, FakeTrainer, FakeWorkers, make_job, make_loop, run
from paths import SUPPORT

from miha.competing import Poll
from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.executors.protocol import Lost
from miha.records import UNCHANGED, Change, Network, Task
from miha.results.reader import load_run
from miha.run.checks import check_asynchronous
from miha.search.budgets import Budgets
from miha.search.fitness import LOSES
from miha.storage.journal import Journal

CHILD = SUPPORT / "late_child.py"
SCHEDULE = {"m": 1, "n": 2, "k": 1, "c": 5, "pop_size": 8}


def uneven(task):
    """Return times of which some are long: other clones' in each cycle, the control's never."""
    if task.clone == 0:
        return 1.0
    return 9.0 if (task.clone + task.cycle) % 4 == 0 else 1.0 + 0.1 * task.clone


def away(path, number=4, seconds=uneven, loses=lambda task, times: None, make=None, **changes):
    """Return a small asynchronous run on workers whose times are told."""
    job = make_job(make or FakeTrainer, 8)
    workers = FakeWorkers(number, job, seconds, loses)
    return make_loop(
        path, (make or FakeTrainer)(), workers=workers, **{"asynchronous": 0.75, **SCHEDULE}
        | changes,
    )  # fmt: skip


class TestWorkers(AsynchronousContract):
    @pytest.fixture(params=[1, 2, 8], ids=["one", "two", "eight"])
    def begin(self, request):
        def make(make_trainer):
            return FakeWorkers(request.param, make_job(make_trainer), uneven)

        return make


def is_late(entry):
    return entry["event"] == "training" and entry.get("late", False)


def clone(number, gene="none", fitness=1.0):
    change = UNCHANGED if gene == "none" else Change(gene, gene)
    task = Task("clone", 1, number, 2, GENOME, change, f"population/1_{number}_model.zip")
    return Network(task, None, (), 2, 0.1, fitness=fitness)


def poll_of(size=8, share=0.75):
    clones = [clone(0), *(clone(i, "batch_size") for i in range(1, size))]
    return Poll([c.task for c in clones], share), clones


def test_a_cycle_is_decided_when_its_share_has_come_and_none_waits():
    poll, clones = poll_of()
    for number in range(5):
        poll.add(clones[number])
        assert not poll.is_closed([])
    poll.add(clones[5])
    assert poll.is_closed([])
    assert not poll.is_closed([clones[7].task])


def test_no_cycle_is_decided_without_its_control():
    poll, clones = poll_of()
    for number in range(1, 8):
        poll.add(clones[number])
        assert not poll.is_closed([])
    poll.add(clones[0])
    assert poll.is_closed([])


def test_no_cycle_is_decided_without_a_mutant_that_has_not_failed():
    poll, clones = poll_of(4, share=0.5)
    poll.add(clones[0])
    for number in (1, 2):
        poll.add(clone(number, "batch_size", fitness=LOSES))
        assert not poll.is_closed([])
    poll.add(clone(3, "batch_size", fitness=LOSES))
    assert poll.is_closed([])


def test_late_clones_are_recorded_when_they_come_and_do_not_compete(tmp_path):
    run(away(tmp_path))
    entries = Journal(tmp_path / "journal.jsonl").read()
    selections = {e["cycle"]: e for e in entries if e["event"] == "selection"}
    lineage = load_run(tmp_path).lineage
    assert len(lineage) == 5 * 8 and 0 < lineage["late"].sum() <= 5 * 2
    for cycle, selection in selections.items():
        found = lineage[lineage["cycle"] == cycle]
        assert found[found["late"]]["clone"].tolist() == sorted(selection.get("late", []))
        assert not found[found["late"]]["selected"].any() and found["selected"].sum() == 1
        came = [i for i, e in enumerate(entries) if is_late(e) and e["cycle"] == cycle]
        assert all(i > entries.index(selection) for i in came)
    assert all((tmp_path / archive).exists() for archive in lineage["archive"])


@pytest.fixture
def best(tmp_path):
    """Return the number of the fittest clone of a first cycle, and the two best values of it."""
    run(away(tmp_path / "all", seconds=lambda task: 1.0, c=1, asynchronous=None))
    lineage = load_run(tmp_path / "all").lineage
    return int(lineage["fitness"].idxmax()), *lineage["value"].nsmallest(2)


def only_late(number):
    return lambda task: 20.0 if task.clone == number else 1.0


def test_a_late_clone_that_would_have_won_does_not(tmp_path, best):
    run(away(tmp_path / "late", seconds=only_late(best[0]), c=1))
    lineage = load_run(tmp_path / "late").lineage
    assert lineage["late"][best[0]] and lineage["fitness"].idxmax() == best[0]
    assert lineage["selected"].sum() == 1 and not lineage["selected"][best[0]]


def test_a_target_that_a_late_clone_reaches_does_not_end_the_run(tmp_path, best):
    number, first, second = best
    target = Budgets(target=(first + second) / 2)
    run(away(tmp_path / "in", asynchronous=None, budgets=target, c=3))
    assert "has reached target" in load_run(tmp_path / "in").stopped
    run(away(tmp_path / "late", seconds=only_late(number), budgets=target, c=1, k=0))
    result = load_run(tmp_path / "late")
    assert result.lineage["late"][number] and result.stopped is None


def test_the_next_cycle_begins_while_late_clones_train(tmp_path):
    loop = away(tmp_path)
    run(loop)
    entries = [e for e in Journal(tmp_path / "journal.jsonl").read() if e.get("phase") == "clone"]
    late = [i for i, e in enumerate(entries) if is_late(e)]
    assert any(entries[i - 1]["cycle"] > entries[i]["cycle"] for i in late)


def test_workers_wait_less_than_for_whole_populations(tmp_path):
    loops = {share: away(tmp_path / f"{share}", asynchronous=share) for share in (None, 0.75)}
    idle = {}
    for share, loop in loops.items():
        run(loop)
        workers = loop.executor.workers if share is None else loop.executor._line._workers
        idle[share] = workers.idle / (4 * workers._now)
    assert idle[0.75] < 0.6 * idle[None]


@pytest.mark.parametrize("ends", [{}, {"max_epochs": 60}, {"patience": 1}, {"adaptive": True}])
def test_a_run_cut_at_any_line_goes_on_to_the_same_decisions(tmp_path, ends):
    changes = {name: value for name, value in ends.items() if name == "adaptive"}
    changes["budgets"] = Budgets(**{k: v for k, v in ends.items() if k != "adaptive"})
    changes |= {"rest": True, "margin": 1.0, "backtrack": 0.05, "c": 4}
    run(away(tmp_path / "whole", **changes))
    entries = Journal(tmp_path / "whole" / "journal.jsonl").read()
    assert any(map(is_late, entries))
    for lines in range(len(entries)):
        path = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        Journal(path / "journal.jsonl").cut(lines)
        kept = decisions(path)
        # Other times than before: what is decided already must not depend on them.
        run(away(path, number=3, seconds=lambda task: 1.0 + (task.clone * 5) % 7, **changes))
        found = decisions(path)
        assert found[: len(kept)] == kept, f"cut after {lines} lines"
        assert whole(path) == [], f"cut after {lines} lines"
        shutil.rmtree(path)


def test_a_late_clone_whose_parent_is_gone_is_trained_anew_with_all_that_followed(tmp_path):
    run(away(tmp_path, c=2))
    entries = Journal(tmp_path / "journal.jsonl").read()
    winner = next(i for i, entry in enumerate(entries) if entry.get("phase") == "winner")
    assert entries[winner - 1]["event"] == "selection" and entries[winner - 1]["late"]
    Journal(tmp_path / "journal.jsonl").cut(winner + 1)
    (tmp_path / entries[1]["parent"]).unlink()
    with pytest.warns(MihaWarning, match="model_init.zip', which the run goes on from, is missing"):
        run(away(tmp_path, c=2))
    assert whole(tmp_path) == []


def test_a_damaged_late_clone_changes_no_decision(tmp_path):
    run(away(tmp_path))
    entries = Journal(tmp_path / "journal.jsonl").read()
    late = next(i for i, entry in enumerate(entries) if is_late(entry))
    (tmp_path / entries[late]["archive"]).unlink()
    Journal(tmp_path / "journal.jsonl").cut(late + 1)
    kept = decisions(tmp_path)
    run(away(tmp_path))
    assert decisions(tmp_path)[: len(kept)] == kept and whole(tmp_path) == []


def test_a_finished_run_returns_as_it_was(tmp_path):
    run(away(tmp_path))
    before = (tmp_path / "journal.jsonl").read_bytes()
    loop = away(tmp_path)
    loop.run(loop.trainer.genome)
    assert loop.trainer.epochs == 0 and not loop.executor.unfinished
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_a_late_clone_that_loses_its_worker_is_trained_again_from_its_own_parent(tmp_path):
    def loses(task, times):
        return Lost("killed.") if times == 1 and uneven(task) > 2 else None

    run(away(tmp_path / "calm"))
    run(away(tmp_path / "lossy", loses=loses))
    tables = [load_run(tmp_path / name).lineage for name in ("calm", "lossy")]
    first = [table[table["cycle"] == 1][["clone", "fitness", "parent"]] for table in tables]
    assert first[0].reset_index(drop=True).equals(first[1].reset_index(drop=True))
    assert tables[1]["failure"].isna().all() and len(tables[1]) == 40


def test_a_late_clone_that_loses_two_workers_has_failed(tmp_path):
    def loses(task, times):
        return Lost("killed.") if (task.cycle, task.clone) == (1, 3) else None

    with pytest.warns(MihaWarning, match="has taken 2 workers with it"):
        run(away(tmp_path, loses=loses))
    lineage = load_run(tmp_path).lineage
    assert lineage["failure"].notna().sum() == 1 and len(lineage) == 40


def test_the_epochs_of_late_clones_count_from_the_selection_on(tmp_path):
    run(away(tmp_path, budgets=Budgets(max_epochs=2 + 2 * 17), c=5))
    result = load_run(tmp_path)
    assert len(result.history) == 2 + 2 * 17
    assert "max_epochs=36 has no room" in result.stopped


def test_a_run_may_end_with_a_late_clone_if_it_is_the_best(tmp_path):
    run(away(tmp_path, restore_best=True))
    result = load_run(tmp_path)
    assert result._log.held["value"] == min(e["value"] for e in result._log.trainings)


def test_every_clone_failing_ends_the_run_as_ever(tmp_path):
    make = partial(FakeTrainer, fails=away_only)
    with pytest.warns(MihaWarning), pytest.raises(MihaError, match="three cycles must succeed"):
        run(make_loop(
            tmp_path, FakeTrainer(), workers=FakeWorkers(4, make_job(make, 8), uneven),
            asynchronous=0.75, **SCHEDULE,
        ))  # fmt: skip
    assert not any("late" in entry for entry in Journal(tmp_path / "journal.jsonl").read())


def away_only(genome):
    return ValueError("no")


def test_figures_and_page_tell_late_clones(tmp_path):
    pytest.importorskip("plotly")
    from miha.report.content import content
    from miha.results.story import Story

    run(away(tmp_path))
    result = load_run(tmp_path)
    story = Story.of(result)
    for cycle, clones in story.cycles.items():
        assert len({clone.start for clone in clones}) == 1, cycle
        control = next(clone for clone in clones if clone.gene == "none")
        gains = {c.clone: c.fitness - control.fitness for c in clones}
        assert {c.clone: c.gain for c in clones} == gains
    assert story.returns == {}
    shown = content(result)
    late = int(result.lineage["late"].sum())
    assert any(f"{late} of 40 clones came late" in text for text in shown["summary"])
    assert all("figure" in figure or figure["name"] == "importance" for figure in shown["figures"])
    json.dumps(shown, allow_nan=False)


def test_a_run_that_is_killed_again_and_again_keeps_to_its_decisions(tmp_path):
    folder, kept, kills = tmp_path / "run", [], 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    begin = partial(subprocess.Popen, [sys.executable, CHILD, folder], env=environment)
    for lines in (4, 13, 21, 30, 41):
        process = begin()
        journal = folder / "journal.jsonl"
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                process.kill()
            time.sleep(0.002)
        kills += process.wait() == -signal.SIGKILL
        found = decisions(folder)
        assert found[: len(kept)] == kept
        kept = found
    assert kills >= 4
    assert begin().wait() == 0
    assert decisions(folder)[: len(kept)] == kept
    assert whole(folder) == [] and any(load_run(folder)._log.late.values())


@pytest.mark.parametrize("control", [True, False])
def test_what_is_exported_while_a_run_grows_is_what_is_exported_at_its_end(tmp_path, control):
    pytest.importorskip("optuna")
    from miha.integrations.optuna import to_optuna
    from miha.results.story import Story

    run(away(tmp_path, control=control))
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for count in (12, 21, 33, len(lines)):
        journal.write_bytes(b"".join(lines[:count]))
        study = to_optuna(load_run(tmp_path), f"sqlite:///{tmp_path}/study.db", target="gain")
    clones = {(c.cycle, c.clone): c for c in Story.of(load_run(tmp_path)).clones}
    trials = {(t.user_attrs["cycle"], t.user_attrs["clone"]): t for t in study.trials}
    assert len(study.trials) == len(clones) == 40 and set(trials) == set(clones)
    assert all(trials[place].value == pytest.approx(clones[place].gain) for place in clones)
    assert all(trials[p].user_attrs.get("late", False) == clones[p].late for p in clones)


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.5, "yes", float("nan"), None])
def test_a_share_is_above_0_and_below_1(value):
    with pytest.raises(ArgumentError, match="`asynchronous` must be True, False, or the share"):
        check_asynchronous(value, True, False, False)


@pytest.mark.parametrize(
    "others", [(False, False, False), (True, True, False), (True, False, True)]
)
def test_what_does_not_fit_is_refused(others):
    with pytest.raises(ArgumentError, match="`asynchronous` needs workers"):
        check_asynchronous(True, *others)
    assert check_asynchronous(False, *others) is None


def test_true_is_three_quarters():
    assert check_asynchronous(True, True, False, False) == 0.75
    assert check_asynchronous(0.5, True, False, False) == 0.5
