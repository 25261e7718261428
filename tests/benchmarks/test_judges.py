"""The judges: reading them does not change the training, and the table says what they rank."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from paths import ROOT

import miha

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def judges():
    # A script finds its siblings in its own folder.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("judges")
    for name in ("judges", "baselines", "tasks"):
        del sys.modules[name]


def generators():
    return [np.random.default_rng(i) for i in range(2)]


def test_a_trial_trains_as_without_judges_and_they_read_the_trainers_values(judges):
    experiment = judges.EXPERIMENTS["segment"]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 18)).astype("float32"), rng.integers(7, size=60)
    model = judges.build(experiment, judges.Recipe(judges.GOOD), 0)
    held = x[40:], y[40:]
    search = miha.MIHA(
        model, x[:40], y[:40], validation_data=held, batch_size=8, seed=0, c=0, verbose=0,
        mutations=["optimizer", "activations", "input_noise", "label_smoothing"],
    )  # fmt: skip
    trainer = search.trainer
    assert {"control", "noise 0.5", "smoothing 0.1", "lion", "tanh"} <= set(
        judges.mutations(trainer)
    )
    parent = trainer.snapshot()
    epochs = trainer.train(5, *generators(), lambda _: None)
    expected = trainer.snapshot()

    trainer.restore(parent)
    network = trainer.load(trainer.export(parent, trainer.genome))
    trial = judges.Trial(experiment, trainer, held, network)
    trial.train(*generators())
    np.testing.assert_equal(trainer.snapshot().variables, expected.variables)
    assert list(trial.values) == ["2", "5"]
    for n, values in trial.values.items():
        logs = epochs[int(n) - 1].logs
        assert values["loss, raw"] == pytest.approx(logs["val_loss"], rel=1e-5)
        assert 1 - values["error, raw"] == pytest.approx(logs["val_accuracy"])
        assert all(values[f"tempered, {w}"] <= values[f"loss, {w}"] for w in judges.WEIGHTS)
    np.testing.assert_equal(trial.within[-1], trial.ends[-1])


def test_the_table_has_correlations_and_what_the_choice_is_worth(judges):
    rows = []
    for place, (name, test) in enumerate({"control": 0.5, "sgd": 0.4, "elu": 0.7}.items()):
        read = {"loss, raw": -test, "error, raw": place}
        found = {"judges": {"2": read, "5": read}, "mutation": name, "test": test}
        rows.append({"task": "mnist", "seed": 0, "age": 1, **found})
    lines = judges.table(rows).splitlines()
    cells = "+1.00 (+0.2000) | -0.50 (+0.0000) | elu of 3 (+0.2000) |"
    assert [f"| mnist | 0 | 1 | {n} | {cells}" for n in (2, 5)] == lines[2:4]
    assert lines[-1] == "| mean |  |  |  | +1.00 (100%) | -0.50 (0%) |  |"
