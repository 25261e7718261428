"""The contract of an executor: a new one supplies the fixture `begin` and gets every test.

``begin(make_trainer)`` returns a `WorkerPool` whose trainers ``make_trainer`` builds, or None for
an executor that trains in this process. What can be sent is defined in a module.
"""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial

import pytest
from fakes import GENOME, FakeTrainer, make_loop, run

from miha.callbacks import Callback
from miha.errors import MihaError, MihaWarning
from miha.mutations import LearningRateMutation
from miha.results.reader import load_run
from miha.storage.journal import Journal

SCHEDULE = {"m": 1, "n": 2, "k": 1, "c": 2, "pop_size": 6}


def story(path):
    """Return all that two runs must have in common; as text, in which NaN equals itself."""
    result = load_run(path)
    values = [path.read_bytes() for path in sorted(path.rglob("*.zip"))]
    return repr(
        (
            result.state,
            result.history.drop(columns="seconds").to_dict("split"),
            result.lineage.to_dict("split"),
            len(values),
            [
                line["archive"]
                for line in Journal(path / "journal.jsonl").read()
                if "archive" in line
            ],
        )
    )


class Watching(Callback):
    def __init__(self):
        self.told = []

    def on_training_begin(self, task):
        self.told.append(("begin", task.archive))

    def on_epoch_end(self, task, epoch):
        self.told.append(("epoch", task.archive))

    def on_training_end(self, network):
        self.told.append(("end", network.record.archive))


def is_faster(genome):
    return genome.learning_rate > GENOME.learning_rate


def breaks(genome):
    return ValueError("too fast") if is_faster(genome) else None


def away(path, begin, make_trainer=FakeTrainer, **changes):
    """Return a small run whose clones train elsewhere."""
    workers = begin(make_trainer)
    return make_loop(path, make_trainer(), workers=workers, **{**SCHEDULE, **changes})


def here(path, make_trainer=FakeTrainer, **changes):
    """Return the same run, one clone after another in this process."""
    return make_loop(path, make_trainer(), **{**SCHEDULE, **changes})


def values(path):
    """Return the values of every archive."""
    trainer = FakeTrainer()
    return {p.name: repr(trainer.recall(p.read_bytes())) for p in path.rglob("*.zip")}


class ExecutorContract:
    def test_the_story_and_the_values_are_those_of_one_clone_after_another(self, tmp_path, begin):
        run(here(tmp_path / "here", c=4))
        run(away(tmp_path / "away", begin, c=4))
        assert story(tmp_path / "away") == story(tmp_path / "here")
        assert values(tmp_path / "away") == values(tmp_path / "here")

    def test_every_hook_is_called_for_every_clone_in_the_order_of_the_clones(self, tmp_path, begin):
        run(away(tmp_path, begin, callbacks=[watching := Watching()]))
        clones = [told for told in watching.told if told[1].startswith("population/1_")]
        kinds = ("begin", "epoch", "epoch", "end")
        assert clones == [(kind, f"population/1_{i}_model.zip") for i in range(6) for kind in kinds]

    def test_a_run_that_goes_on_within_a_population_equals_one_never_interrupted(
        self, tmp_path, begin
    ):
        run(away(tmp_path / "whole", begin))
        for left in (4, 6):
            path = shutil.copytree(tmp_path / "whole", tmp_path / f"{left}")
            Journal(path / "journal.jsonl").cut(left)
            run(away(path, begin, callbacks=[watching := Watching()]))
            assert story(path) == story(tmp_path / "whole")
            begun = Counter(name for kind, name in watching.told if kind == "begin")
            assert begun["population/1_1_model.zip"] == 0 and set(begun.values()) == {1}

    def test_a_clone_that_diverges_loses_alone(self, tmp_path, begin):
        make = partial(FakeTrainer, diverges=is_faster)
        run(here(tmp_path / "here", make, mutations=[LearningRateMutation()]))
        run(away(tmp_path / "away", begin, make, mutations=[LearningRateMutation()]))
        lineage = load_run(tmp_path / "away").lineage
        assert 0 < lineage["failure"].notna().sum() < len(lineage)
        assert story(tmp_path / "away") == story(tmp_path / "here")

    def test_a_clone_whose_training_raises_loses_alone(self, tmp_path, begin):
        make = partial(FakeTrainer, fails=breaks)
        with pytest.warns(MihaWarning, match="ValueError: too fast"):
            run(here(tmp_path / "here", make, mutations=[LearningRateMutation()]))
        with pytest.warns(MihaWarning, match="ValueError: too fast"):
            run(away(tmp_path / "away", begin, make, mutations=[LearningRateMutation()]))
        lineage = load_run(tmp_path / "away").lineage
        assert (lineage["failure"] == "ValueError: too fast").sum() > 0
        assert story(tmp_path / "away") == story(tmp_path / "here")

    def test_what_a_callback_raises_ends_the_run(self, tmp_path, begin):
        class Broken(Callback):
            def on_epoch_end(self, task, epoch):
                if task.phase == "clone":
                    raise ValueError("no")

        with pytest.raises(MihaError, match="Broken.on_epoch_end"):
            run(away(tmp_path, begin, callbacks=[Broken()]))
