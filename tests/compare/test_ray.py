"""Ray Tune's strategies: checkpoints in milliseconds, whole runs where Ray is installed."""

from __future__ import annotations

import contextlib
import sys
import types
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from families import SAMPLES, START

from miha.compare import RayAsha, RayPbt, compare
from miha.compare.meter import BudgetSpent
from miha.compare.strategies.ray import restore, save, shares_of, train
from miha.space import SearchSpace

EPOCHS = 10
SPACE = SearchSpace(
    optimizers=["adam", "sgd"], activations=["relu", "tanh"], batch_size=(8, 32),
    learning_rate=(0.001, 0.1), layers=["hidden"],
)  # fmt: skip


class Checkpoint:
    """A folder, as Ray hands it out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def as_directory(self) -> Any:
        yield str(self._folder)


@pytest.fixture
def trained(tmp_path):
    (x, y), *_ = families.data()
    model = families.build(START)
    model.fit(x, y, epochs=1, verbose=0)
    save(model, tmp_path, START.optimizer, 3)
    return model, Checkpoint(tmp_path)


def slots(model: Any) -> list[np.ndarray]:
    return [
        np.asarray(v) for v in model.optimizer.variables if v is not model.optimizer._learning_rate
    ]


def test_a_checkpoint_brings_weights_and_state_and_not_the_learning_rate(trained):
    model, checkpoint = trained
    other = families.build(START.replace(learning_rate=0.5))
    assert restore(other, checkpoint, START.optimizer) == 3
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(slots(model), slots(other), strict=True):
        np.testing.assert_array_equal(one, two)
    assert float(other.optimizer.learning_rate) == 0.5


def test_a_checkpoint_of_another_optimizer_brings_the_weights_alone(trained):
    model, checkpoint = trained
    other = families.build(START.replace(optimizer="sgd"))
    assert restore(other, checkpoint, "sgd") == 3
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])
    assert int(other.optimizer.iterations) == 0


@pytest.mark.parametrize("is_known", [False, True])
def test_a_trial_that_finds_the_budget_spent_still_reports(monkeypatch, is_known):
    # Ray takes a trial that ends without a report for broken, and ends them all.
    reported, built = [], []
    tune = types.ModuleType("ray.tune")
    tune.get_context = lambda: types.SimpleNamespace(get_trial_id=lambda: "abc_00007")
    tune.get_checkpoint = lambda: None
    tune.report = lambda metrics, checkpoint=None: reported.append(metrics)
    ray = types.ModuleType("ray")
    ray.tune = tune
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.tune", tune)

    class Network:
        def fit(self, **arguments):
            raise BudgetSpent

    task = types.SimpleNamespace(
        space=types.SimpleNamespace(genome=lambda config: START),
        build=lambda genome, number: built.append(genome) or Network(),
        arguments=lambda genome: {},
        meter=types.SimpleNamespace(is_over=is_known, taken=3),
        **{"monitor": "val_loss", "mode": "min"},
    )
    train({}, task)
    assert reported == [{"val_loss": float("inf")}] and len(built) == (not is_known)


def test_without_a_checkpoint_a_trial_begins_anew():
    assert restore(None, None, "adam") == 0


def test_trials_share_the_gpus_where_there_are_any():
    assert shares_of({"CPU": 2.0}) == {"cpu": 1}
    assert shares_of({"CPU": 16.0, "GPU": 1.0}) == {"cpu": 1, "gpu": 0.0625}
    assert shares_of({"CPU": 3.0, "GPU": 1.0}) == {"cpu": 1, "gpu": 0.3333}
    assert shares_of({"CPU": 2.0, "GPU": 4.0}) == {"cpu": 1, "gpu": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [RayPbt(population=2, interval=1), RayAsha(trial_epochs=4)])
def test_ray_trains_the_budget_as_its_networks_count_it(strategy, tmp_path, monkeypatch):
    pytest.importorskip("ray.tune", reason="pip install 'miha[compare]'")
    monkeypatch.setenv("TALLY", str(tmp_path / "tally"))
    monkeypatch.setitem(sys.modules, "kaleido", None)
    comparison = compare(
        *(families.build_with_tally, families.data(), [strategy]),
        **{"starts": {"mine": START}, "space": SPACE, "epochs": EPOCHS, "seeds": 1},
        **{"isolate": True, "logs": tmp_path / "logs", "verbose": 0},
    )
    [cell] = comparison.cells
    assert cell.failure is None, cell.failure
    samples = sum(map(int, (tmp_path / "tally").read_text().split()))
    assert samples == EPOCHS * SAMPLES and cell.epochs == len(cell.curve) == EPOCHS
    assert cell.value == min(value for _, value in cell.curve)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [RayPbt(population=8, interval=1), RayAsha(trial_epochs=2)])
def test_ray_finds_the_best_configuration(strategy, tmp_path, monkeypatch):
    pytest.importorskip("ray.tune", reason="pip install 'miha[compare]'")
    from searches import found_by

    monkeypatch.setitem(sys.modules, "kaleido", None)
    cell = found_by(strategy, tmp_path, 24, isolate=True)  # Ray leaves files open.
    assert dict(cell.genome["activations"])["hidden"] == "elu"
