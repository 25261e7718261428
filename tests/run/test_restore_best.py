"""`Search(restore_best=True)`: the run ends with its best network, wherever it is interrupted."""

from __future__ import annotations

import shutil

import pytest
from fakes import FakeTrainer, make_loop, run
from faults import Crash, Disk

from miha.archive.archive import describe
from miha.errors import MihaWarning
from miha.records import Genome
from miha.results.reader import load_run
from miha.search import best
from miha.storage.folder import FINAL, RunFolder
from miha.storage.journal import Journal

# The less trained, the worse the loss and the better this run.
BACKWARDS = {"monitor": "loss", "mode": "max", "restore_best": True}
SMALL = {"c": 1, "pop_size": 2, **BACKWARDS}


def values(path, name=FINAL):
    return FakeTrainer().load((path / name).read_bytes())


def ending(path):
    """Return all of a run's end that must not depend on interruptions."""
    result = load_run(path)
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return result.state, result.archives, repr(result.genome), values(path), names


def test_a_losing_clone_that_was_best_is_what_the_run_ends_with(tmp_path, monkeypatch):
    # So few epochs tell nothing of the noise.
    monkeypatch.setattr(best, "NOISES", 0.0)
    trainer = FakeTrainer(script={2: {"val_loss": 0.0}, 3: {"val_loss": 99.0}})
    loop = make_loop(tmp_path, trainer, restore_best=True, fitness=lambda curve: curve.last)
    run(loop)
    result = load_run(tmp_path)
    assert loop.log.winners[1] == 2
    assert values(tmp_path) == values(tmp_path, "population/1_1_model.zip")
    assert result.genome == result.best_genome == Genome.from_dict(values(tmp_path)["genome"])
    assert describe(tmp_path / FINAL)["genome"] == result.genome.to_dict()
    assert result.archives == (FINAL, FINAL)


def test_the_last_network_stays_where_it_is_the_best(tmp_path):
    trainer = FakeTrainer(script={9: {"val_loss": 0.0}})
    run(make_loop(tmp_path, trainer, restore_best=True))
    assert values(tmp_path)["weight"] == round(trainer.trainings[-1].end, 2)
    assert load_run(tmp_path).archives == (FINAL, FINAL)
    assert load_run(tmp_path).log.last.restored is None


def test_without_it_the_run_ends_with_the_last_network(tmp_path):
    loop = make_loop(tmp_path, **{**BACKWARDS, "restore_best": False})
    run(loop)
    assert values(tmp_path)["weight"] == round(loop.trainer.trainings[-1].end, 2)
    assert load_run(tmp_path).archives == (FINAL, "model/model_init.zip")


@pytest.mark.parametrize("keep", ["all", "model", "final", "none"])
def test_the_best_network_stays_with_each_way_to_keep_but_none(tmp_path, keep):
    run(make_loop(tmp_path, **BACKWARDS))
    expected = values(tmp_path)
    RunFolder(tmp_path).keep(keep, load_run(tmp_path).archives)
    found = sorted(path.name for path in tmp_path.rglob("*.zip"))
    assert ("model_final.zip" in found) == (keep != "none")
    if keep == "final":
        assert found == ["model_final.zip"]
    if keep != "none":
        assert values(tmp_path) == expected
        assert describe(tmp_path / load_run(tmp_path).archives[1])["phase"] == "initial"


def test_a_crash_at_an_operation_of_the_disk_ends_with_the_same_network(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        run(make_loop(tmp_path / "whole", **SMALL))
        count = len(disk.operations)
    expected = ending(tmp_path / "whole")
    assert expected[3] == values(tmp_path / "whole", "model/model_init.zip")
    for at in [*range(0, count - 30, 7), *range(count - 30, count, 2)]:
        path = tmp_path / f"{at}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
            Disk(patch, at)
            run(make_loop(path, **SMALL))
        run(make_loop(path, **SMALL))
        assert ending(path) == expected, f"crash at operation {at}"
        shutil.rmtree(path)


def test_a_run_that_is_interrupted_has_the_network_of_its_last_training(tmp_path):
    run(make_loop(tmp_path, **SMALL))
    Journal(tmp_path / "journal.jsonl").cut(5)
    result = load_run(tmp_path)
    assert result.archives == ("model/model_1.zip", "model/model_init.zip")


@pytest.mark.parametrize(
    ("changes", "lost"),
    [(BACKWARDS, "model/model_init.zip"), ({"backtrack": 0.0}, "model/model_1.zip")],
)
def test_the_best_network_is_trained_again_where_its_archive_is_lost(tmp_path, changes, lost):
    script = {i: {"val_loss": 99.0} for i in range(5, 9)} if "backtrack" in changes else {}
    run(make_loop(tmp_path / "whole", FakeTrainer(script=script), **changes))
    path = shutil.copytree(tmp_path / "whole", tmp_path / "run")
    Journal(path / "journal.jsonl").cut(11)  # All but the last training.
    (path / lost).unlink()
    with pytest.warns(MihaWarning, match=f"{lost}.*missing or damaged"):
        loop = make_loop(path, **changes)
    assert len(loop.recorder.past.trainings) < 9
    run(loop)
    assert (path / lost).exists()


def test_a_network_without_a_value_is_never_restored(tmp_path):
    trainer = FakeTrainer(diverges=lambda genome: True)
    with pytest.warns(MihaWarning, match="diverged"):
        run(make_loop(tmp_path, trainer, c=0, restore_best=True))
    assert load_run(tmp_path).log.last.restored is None


def test_a_run_with_it_is_another_run_than_one_without(tmp_path):
    run(make_loop(tmp_path, **SMALL))
    with pytest.raises(
        FileExistsError, match=r"arguments\.search\.restore_best is True and not False"
    ):
        make_loop(tmp_path, **{**SMALL, "restore_best": False})
