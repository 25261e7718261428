"""`MIHA.optimize` on a disk that fails at every single operation, with a trainer without Keras."""

from __future__ import annotations

import contextlib
import shutil

import numpy as np
import pytest
from fakes import FakeTrainer
from faults import Crash, Disk

from miha import MIHA, StorageError
from miha.results.reader import load_run

X = np.zeros((16, 1), "float32")


@pytest.fixture(autouse=True)
def without_keras(monkeypatch):
    monkeypatch.setattr("miha.trainer.factory.make_trainer", lambda *_, **__: FakeTrainer())


def optimize(folder, keep):
    return MIHA(
        None, X, X, validation_data=(X, X), m=2, n=2, k=1, c=2, pop_size=3, batch_size=4,
        seed=0, logs=folder, keep=keep, verbose=0,
    ).optimize()  # fmt: skip


def story(result):
    names = {path.relative_to(result.run_dir) for path in result.run_dir.rglob("*.*")}
    return repr(
        (
            *(result.model, result.best_model, result.genome, result.best_value),
            result.history.drop(columns="seconds").to_dict("split"),
            result.lineage.to_dict("split"),
            sorted(map(str, names)),
        )
    )


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["crash", "full"])
@pytest.mark.parametrize("keep", ["all", "final"])
def test_a_fault_at_any_operation_of_a_whole_run_loses_nothing(tmp_path, keep, kind, step):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        expected = story(optimize(tmp_path / "whole", keep))
        count = len(disk.operations)
    for at in range(0, count, step):
        folder = tmp_path / f"{at}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, kind)
            # A folder that may be tidied away, or not, is no reason to stop.
            with contextlib.suppress(Crash, StorageError):
                optimize(folder, keep)
            assert len(disk.operations) > at
        result = optimize(folder, keep)
        assert story(result) == expected, f"{kind} at operation {at}: {disk.operations[at]}"
        assert load_run(folder).state == "finished"
        assert story(optimize(folder, keep)) == expected
        shutil.rmtree(folder)
    print(count, "operations")
