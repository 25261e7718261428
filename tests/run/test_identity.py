"""What makes a run this run: another one is refused, by what differs, or replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import GENOME, SPACE, FakeTrainer, make_loop, make_plan, run
from faults import Crash, Disk
from stories import story

from miha.errors import JournalError, MihaWarning, RunExistsError
from miha.mutations import BatchSizeMutation, LearningRateMutation
from miha.results.reader import load_run
from miha.run.identity import describe_run
from miha.search.fitness import LevelAndSlope
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal
from miha.utils.code_digest import digest


def last(curve):
    return -curve.last


def other(**changes):
    trainer = FakeTrainer()
    for name, value in changes.items():
        setattr(trainer, name, value)
    return trainer


@pytest.fixture
def folder(tmp_path):
    """The folder of an interrupted run."""
    run(make_loop(tmp_path / "run"))
    Journal(tmp_path / "run/journal.jsonl").cut(4)
    return tmp_path / "run"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"m": 3}, "arguments.schedule.m is 2 and not 3"),
        ({"pop_size": 4, "c": 9}, "pop_size is 3 and not 4"),
        ({"c": 1}, "schedule.c is 2 and not 1.*they cannot be lowered"),
        ({"seed": 1}, "seed is 0 and not 1"),
        ({"crossover": True}, "arguments.search.crossover is False and not True"),
        ({"patience": 3}, "arguments.budget.patience is None and not 3"),
        ({"monitor": "loss"}, "arguments.monitor is 'val_loss' and not 'loss'"),
        ({"mode": "max"}, "arguments.mode is 'min' and not 'max'"),
        ({"control": False}, "arguments.search.control is True and not False"),
        ({"fitness": LevelAndSlope(2.0)}, "arguments.fitness is .*level_weight=1.0"),
        ({"fitness": last}, "arguments.fitness is .* and not 'last'"),
        ({"mutations": [BatchSizeMutation()]}, "arguments.mutations is "),
        ({"trainer": FakeTrainer(genome=GENOME.replace(batch_size=8))}, "genome.batch_size is 4"),
        ({"trainer": other(settings={"shuffle": False})}, "arguments.data.shuffle is True"),
        (
            {"trainer": other(fingerprint={"data": "9", "network": "1"})},
            "where the data differ, in",
        ),
        (
            {"trainer": other(fingerprint={"data": "0", "network": "2"})},
            "where the network differs",
        ),
    ],
)
def test_a_run_of_other_arguments_data_or_network_is_refused_by_name(folder, changes, told):
    before = contents(folder)
    with pytest.raises(RunExistsError, match=told):
        make_loop(folder, **changes)
    assert contents(folder) == before


def test_a_run_that_was_begun_before_there_was_an_option_goes_on(folder):
    description = RunFolder(folder).description()
    del description["arguments"]["search"]["final_data"]
    RunFolder(folder).write_description(description)
    with pytest.raises(RunExistsError, match="search.final_data is 'train' and not"):
        make_loop(folder, final_data="all", restore_best=False)
    run(make_loop(folder))


def test_a_run_that_is_replaced_leaves_nothing_of_the_one_before(folder):
    (folder / "notes.csv").write_text("mine")
    run(make_loop(folder, seed=1, c=1, overwrite=True))
    assert load_run(folder).lineage["cycle"].max() == 1
    assert not (folder / "model/model_2.zip").exists()
    assert (folder / "notes.csv").read_text() == "mine"
    run(make_loop(folder, seed=1, c=1))


def test_the_same_run_goes_on_even_where_others_are_replaced(folder):
    trainer = FakeTrainer()
    run(make_loop(folder, trainer, overwrite=True))
    assert len(trainer.trainings) == 10 - 4


@pytest.fixture
def replaced(tmp_path):
    """The story of the run that replaces the one in `folder`."""
    run(make_loop(tmp_path / "expected", seed=1))
    return story(tmp_path / "expected")


def check_replacing(folder, replaced, step):
    """Check that replacing a run can be done again, at whichever operation it died."""
    for at in range(0, 1000, step):
        path = folder.parent / f"{at}"
        shutil.copytree(folder, path)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at)
            try:
                make_loop(path, seed=1, overwrite=True)
            except Crash:
                disk.dead = True
        run(make_loop(path, seed=1, overwrite=True))
        assert story(path) == replaced
        if len(disk.operations) <= at:
            break
    assert at > 10


def test_replacing_that_dies_can_be_done_again(folder, replaced):
    check_replacing(folder, replaced, 4)


@pytest.mark.slow
def test_replacing_that_dies_at_any_moment_can_be_done_again(folder, replaced):
    check_replacing(folder, replaced, 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000])
def test_a_damaged_description_is_refused_or_replaced(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(JournalError, match="run.json"):
        make_loop(folder)
    with pytest.raises(JournalError, match="run.json"):
        load_run(folder)
    run(make_loop(folder, overwrite=True))


@pytest.mark.parametrize("number", [3, 0, "1", True])
def test_an_unknown_format_is_refused_clearly(folder, number):
    description = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**description, "format": number}))
    with pytest.raises(JournalError, match=rf"1 to 2.*format {number!r}.*newer version"):
        load_run(folder)


def test_a_damaged_journal_is_refused_or_replaced(folder):
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"training", b"trainin9", 1))
    with pytest.raises(JournalError, match="line 1, "):
        make_loop(folder)
    run(make_loop(folder, overwrite=True))
    assert load_run(folder).state == "finished"


def test_run_json_names_each_policy_whole(folder):
    arguments = json.loads((folder / "run.json").read_text())["arguments"]
    assert arguments["search"] == asdict(make_plan().search)
    assert arguments["budget"] == {"seconds": None, "patience": None, "target": None}
    assert arguments["schedule"] == {"m": 2, "n": 2, "k": 1, "c": 2, "pop_size": 3}


def test_other_versions_or_devices_are_told_and_go_on(folder):
    with pytest.warns(MihaWarning, match="device is 'a test' and not 'another'.*last digits"):
        loop = make_loop(folder, other(device="another"))
    assert len(loop.recorder.past.trainings) == 4


def test_an_event_of_a_later_version_is_passed_over(folder):
    journal = Journal(folder / "journal.jsonl")
    journal.open()
    journal.append({"event": "something new", "cycle": 1})
    run(make_loop(folder))
    assert load_run(folder).state == "finished"


@pytest.mark.parametrize("fitness", [last, lambda curve: -curve.last, partial(last)])
def test_a_function_is_described_without_its_place_in_memory(fitness):
    description = described_with(fitness)
    assert "0x" not in json.dumps(description["arguments"]["fitness"])


def described_with(fitness):
    plan = make_plan(mutations=(LearningRateMutation(),), fitness=fitness)
    return describe_run(plan, FakeTrainer(space=SPACE))


def test_functions_of_one_name_are_told_apart_by_what_they_do():
    def described(function):
        return described_with(function)["code"]["fitness"]

    assert described(lambda curve: -curve.last) == described(lambda curve: -curve.last)
    assert described(lambda curve: -curve.last) != described(lambda curve: -curve.first)
    assert described(lambda curve: -curve.last) != described(lambda curve: -2.0 * curve.last)


def documented(curve):
    """Say something."""
    return -curve.last


def otherwise_documented(curve):
    """Say something else."""
    # And comment on it.
    return -curve.last


def weighing(weight):
    return lambda curve: -weight * curve.last


class Custom:
    factor = 1.0

    def __call__(self, curve):
        return -curve.last


class Changed(Custom):
    def __call__(self, curve):
        return -2 * curve.last


def test_what_a_function_says_of_itself_is_not_what_it_does():
    assert digest(documented) == digest(otherwise_documented)
    assert digest(weighing(1)) == digest(weighing(1)) != digest(weighing(2))
    assert digest(Custom()) == digest(Custom()) != digest(Changed())


def helper(curve):
    return -curve.last


def calling_a_helper(curve):
    return helper(curve)


def recursive(curve, depth=2):
    return recursive(curve, depth - 1) if depth else FACTOR * curve.last


FACTOR = -1.0


class Parts:
    factor = 1.0

    def __init__(self, weights=None, sign=1):
        self.weights, self.sign = weights, sign

    @property
    def doubled(self):
        return 2 * self.factor

    @staticmethod
    def scaled(value):
        return 3 * value

    def __call__(self, curve):
        return self.sign * self.scaled(curve.last)


def with_default(function=lambda value: value):
    return lambda curve, f=function: f(curve.last)


@pytest.mark.parametrize(
    ("thing", "target", "value"),
    [
        (calling_a_helper, f"{__name__}.helper", lambda curve: curve.last),
        (recursive, f"{__name__}.FACTOR", 2.0),
        (partial(calling_a_helper), f"{__name__}.helper", lambda curve: curve.last),
        (Parts(), f"{__name__}.Parts.factor", 2.0),
        (Parts(), f"{__name__}.Parts.doubled", property(lambda self: 3)),
        (Parts(), f"{__name__}.Parts.scaled", staticmethod(lambda value: value)),
        (Parts().__call__, f"{__name__}.Parts.scaled", staticmethod(lambda value: value)),
        ([Parts], f"{__name__}.Parts.__call__", lambda self, curve: curve.last),
    ],
)
def test_what_a_function_uses_is_a_part_of_what_it_does(thing, target, value, monkeypatch):
    before = digest(thing)
    assert digest(thing) == before
    monkeypatch.setattr(target, value)
    assert digest(thing) != before


def test_what_an_object_or_a_closure_holds_is_a_part_of_what_it_does():
    assert digest(Parts(np.ones(3))) == digest(Parts(np.ones(3))) != digest(Parts(np.zeros(3)))
    assert digest(Parts(sign=-1)) != digest(Parts())
    assert digest(partial(last, 1)) != digest(partial(last, 2))
    assert digest(with_default()) != digest(with_default(lambda value: -value))
    assert digest(weighing(partial(last, 1))) != digest(weighing(partial(last, 2)))
    assert digest(weighing(Parts())) != digest(weighing(Parts(sign=-1)))


def test_a_function_made_of_text_can_be_described():
    space = {}
    exec("def made(curve): return -curve.last", space)
    assert described_with(space["made"])["arguments"]["fitness"] == "made"


def test_a_run_whose_code_has_changed_is_refused_but_not_on_another_python(folder, monkeypatch):
    make, path = make_loop, folder.parent / "own"
    run(make(path, fitness=weighing(1)))
    with pytest.raises(RunExistsError, match="code.fitness is another: what"):
        make(path, fitness=weighing(2))
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    with pytest.warns(MihaWarning, match="versions.python"):
        make(path, fitness=weighing(2))


def test_a_partial_of_another_function_is_another_fitness(folder, monkeypatch):
    path = folder.parent / "own"
    run(make_loop(path, fitness=partial(calling_a_helper)))
    monkeypatch.setattr(f"{__name__}.helper", lambda curve: curve.last)
    with pytest.raises(RunExistsError, match="code.fitness is another: what"):
        make_loop(path, fitness=partial(calling_a_helper))


def of_set(curve):
    return curve.mode in {"min", "max", "a", "b"} and -curve.last


def test_code_is_the_same_in_another_process():
    names = ["last", "of_set", "Custom", "calling_a_helper", "Parts()"]
    digests = ", ".join(f"t.digest(t.{name})" for name in names)
    code = f"import test_identity as t; print({digests})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split() == [digest(eval(name)) for name in names]


def test_a_changed_description_is_noticed(folder):
    path = folder / "run.json"
    text = path.read_text()
    for old, new in (('"seed": 0', '"seed": 1'), ('"mode": "min"', '"mode": "max"')):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(JournalError, match="must have its checksum"):
            load_run(folder)
