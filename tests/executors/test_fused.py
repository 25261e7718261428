"""Clones that train together: the run's story is that of one after another."""

from __future__ import annotations

import math
import shutil
from collections import Counter

import pytest
from executor_contract import Watching, story
from fakes import GENOME, FakePopulationTrainer, FakeTrainer, make_loop, run

from miha.callbacks import Callback
from miha.errors import MihaError, MihaWarning, TrainerError
from miha.mutations import ActivationMutation, BatchSizeMutation, LearningRateMutation
from miha.results.reader import load_run
from miha.storage.journal import Journal

SCHEDULE = {"m": 1, "n": 2, "k": 1, "c": 2, "pop_size": 6}


def together(path, trainer=None, at_once=8, **changes):
    trainer = trainer or FakePopulationTrainer()
    return make_loop(path, trainer, at_once=at_once, **{**SCHEDULE, **changes})


def clones_of(loop):
    return [record for record in loop.log.trainings if record.is_clone]


def test_together_and_one_by_one_tell_the_same_story_but_for_rounding(tmp_path):
    run(make_loop(tmp_path / "alone", FakeTrainer(), **{**SCHEDULE, "c": 6}))
    run(together(tmp_path / "together", c=6))
    alone, fused = (load_run(tmp_path / name) for name in ("alone", "together"))
    together_values = fused.history["val_loss"].tolist()
    assert alone.history["val_loss"].tolist() == pytest.approx(together_values, rel=1e-4)
    assert alone.history["val_loss"].tolist() != fused.history["val_loss"].tolist()
    assert alone.lineage["change"].tolist() == fused.lineage["change"].tolist()
    assert alone.lineage["selected"].tolist() == fused.lineage["selected"].tolist()


def test_clones_of_one_optimizer_and_batch_size_train_together_and_no_others(tmp_path):
    loop = together(tmp_path)
    run(loop)
    kinds = Counter(
        (clone.cycle, clone.genome.optimizer, clone.genome.batch_size) for clone in clones_of(loop)
    )
    found = [(group[0].optimizer, group[0].batch_size, len(group)) for group in loop.trainer.groups]
    expected = [(*kind[1:], number) for kind, number in kinds.items() if number > 1]
    assert sorted(found) == sorted(expected)
    assert len(kinds) > len(expected) > 0
    for group in loop.trainer.groups:
        assert len({(genome.optimizer, genome.batch_size) for genome in group}) == 1


def test_a_clone_that_goes_alone_joins_no_group(tmp_path):
    trainer = FakePopulationTrainer()
    trainer.alone = ("keep_function",)
    loop = together(
        tmp_path, trainer, c=6, mutations=[LearningRateMutation(), ActivationMutation()]
    )
    run(loop)
    ways = {str(clone.genome): clone.change.transition for clone in clones_of(loop)}
    grouped = {str(genome) for group in trainer.groups for genome in group}
    alone = {text for text, way in ways.items() if way == "keep_function"}
    assert alone and grouped
    assert not grouped & alone


def test_a_group_is_no_larger_than_there_is_memory_for(tmp_path):
    loop = together(tmp_path, at_once=2, mutations=[LearningRateMutation()])
    run(loop)
    assert [len(group) for group in loop.trainer.groups] == [2, 2, 2] * 2


def test_networks_are_recorded_in_the_order_of_the_clones(tmp_path):
    run(together(tmp_path, mutations=[BatchSizeMutation(), LearningRateMutation()]))
    lines = Journal(tmp_path / "journal.jsonl").read()
    clones = [line["archive"] for line in lines if line.get("phase") == "clone"]
    assert clones == [
        f"population/{cycle}_{clone}_model.zip" for cycle in (1, 2) for clone in range(6)
    ]


def test_every_hook_is_called_for_every_clone(tmp_path):
    watching = Watching()
    run(together(tmp_path, callbacks=[watching]))
    counts = Counter(watching.told)
    for clone in range(6):
        name = f"population/1_{clone}_model.zip"
        assert [counts[kind, name] for kind in ("begin", "epoch", "end")] == [1, 2, 1]
        kinds = [kind for kind, archive in watching.told if archive == name]
        assert kinds == ["begin", "epoch", "epoch", "end"]


def test_a_run_that_goes_on_anywhere_in_a_group_equals_one_never_interrupted(tmp_path):
    whole = tmp_path / "whole"
    run(together(whole))
    lines = len(Journal(whole / "journal.jsonl").read())
    assert lines == 2 + 2 * (6 + 1 + 1) + 1
    for left in range(1, lines):
        path = shutil.copytree(whole, tmp_path / f"{left}")
        Journal(path / "journal.jsonl").cut(left)
        loop = together(path, callbacks=[watching := Watching()])
        run(loop)
        assert story(path) == story(whole), left
        recorded = [line for line in Journal(whole / "journal.jsonl").read()[:left]]
        done = {line["archive"] for line in recorded if line["event"] == "training"}
        assert not done & {name for _, name in watching.told}


def test_a_clone_that_diverges_loses_alone(tmp_path):
    trainer = FakePopulationTrainer(
        diverges=lambda genome: genome.learning_rate > GENOME.learning_rate
    )
    loop = together(tmp_path, trainer, c=1, mutations=[LearningRateMutation()])
    run(loop)
    clones = clones_of(loop)
    failed = [clone for clone in clones if clone.failure]
    assert 0 < len(failed) < 5
    assert all(clone.genome.learning_rate > GENOME.learning_rate for clone in failed)
    assert all(len(clone.epochs) == 1 for clone in failed)
    assert all(math.isfinite(clone.value) for clone in clones if clone not in failed)


@pytest.mark.parametrize("error", [RuntimeError("RESOURCE_EXHAUSTED"), TrainerError("no genome")])
def test_clones_that_cannot_train_together_train_one_by_one(tmp_path, error):
    run(make_loop(tmp_path / "alone", FakeTrainer(), **SCHEDULE))
    with pytest.warns(MihaWarning, match=f"one after another: {type(error).__name__}"):
        run(together(tmp_path / "together", FakePopulationTrainer(lambda genomes: error)))
    assert story(tmp_path / "alone") == story(tmp_path / "together")


def test_what_a_callback_raises_while_clones_train_together_ends_the_run(tmp_path):
    class Broken(Callback):
        def on_epoch_end(self, task, epoch):
            if task.phase == "clone":
                raise ValueError("no")

    with pytest.raises(MihaError, match="Broken.on_epoch_end"):
        run(together(tmp_path, callbacks=[Broken()]))
