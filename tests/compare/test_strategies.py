"""The strategies on real networks: their budgets, the test data, seeds, what they find."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import families
import keras
import numpy as np
import pytest
from families import SAMPLES, SEEN, START
from searches import found_by

from miha import MIHA, Search
from miha.compare import (
    Comparison,
    CosineAverages,
    CosineEarlyStopping,
    GridSearch,
    KerasTunerBayesian,
    KerasTunerHyperband,
    Miha,
    Miha2021,
    OptunaEvolution,
    OptunaHyperband,
    OptunaMedian,
    Plain,
    RandomSearch,
    Strategy,
    ThenTrain,
    compare,
)
from miha.compare.configurations import ConfigurationSpace
from miha.compare.strategies.mutation import NeighbourMutation, Watch
from miha.compare.task import Task, seed_of
from miha.records import Schedule
from miha.space import SearchSpace, Space

pytestmark = [
    # KerasTuner loads weights into networks that have no optimizer's state yet.
    pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning"),
    pytest.mark.filterwarnings("ignore:The optimal value found for dimension"),
]

EPOCHS = 8
SPACE = SearchSpace(
    optimizers=["adam", "sgd"], activations=["relu", "tanh"], batch_size=(8, 32),
    learning_rate=(0.001, 0.1), layers=["hidden"], input_noise=[0.0],
)  # fmt: skip
GRID = GridSearch(optimizers=("adam",), rates=1, activations=("relu", "tanh"))
LIBRARIES = {
    "optuna_integration": [OptunaMedian(trial_epochs=3)],
}
"""By what must be installed for them."""

FURTHER = {
    "optuna_integration": [OptunaHyperband(trial_epochs=4), OptunaEvolution(trial_epochs=2)],
    "keras_tuner": [
        KerasTunerHyperband(trial_epochs=3),
        KerasTunerBayesian(trial_epochs=1, initial=8),
    ],
}
"""Others of the same libraries, which run in the slow tests."""

OWN = [
    Plain(),
    CosineEarlyStopping(patience=20),
    CosineAverages(),
    RandomSearch(trial_epochs=5),
    GRID,
    ThenTrain("search, then train", RandomSearch(trial_epochs=3), 4),
    Miha2021(),
    Miha(),
]
OF_LIBRARIES = [s for package, group in LIBRARIES.items() if find_spec(package) for s in group]
OTHERS = [s for package, group in FURTHER.items() if find_spec(package) for s in group]
STRATEGIES = OWN + OF_LIBRARIES


class Closed:
    """Test data that must not be read while a strategy runs."""

    running = False
    read = 0

    def __init__(self, array: Any) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if Closed.running:
            raise RuntimeError("a strategy has read the test data")
        Closed.read += 1
        return self._array

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__len__":
            raise AttributeError(name)
        return getattr(self.__array__(), name)

    def __len__(self) -> int:
        return len(self.__array__())

    def __getitem__(self, place: Any) -> Any:
        return self.__array__()[place]


@dataclass(frozen=True)
class Watched(Strategy):
    """Runs another strategy, and notes what its networks have counted themselves."""

    name: str
    inner: Strategy
    notes: Any

    def run(self, task: Any) -> Any:
        SEEN.clear()
        Closed.running = True
        built, fitted = [], []

        def build_model(genome: Any) -> Any:
            model = task.build_model(genome)
            built.append(model.get_weights())
            fit = model.fit

            def fit_and_note(*args: Any, **kwargs: Any) -> Any:
                fitted.append(model.get_weights())
                return fit(*args, **kwargs)

            model.fit = fit_and_note
            return model

        try:
            model = self.inner.run(dataclasses.replace(task, build_model=build_model))
        finally:
            Closed.running = False
        # MIHA trains without `fit`.
        notes = {"samples": sum(SEEN), "weights": (fitted or built)[0]}
        values = model.evaluate(*task.validation_data, verbose=0, return_dict=True)
        self.notes[self.name, task.seed] = notes | {"value": values[task.monitor[4:]]}
        return model

    def __repr__(self) -> str:
        return self.name


def score(model: Any, x: Any, y: Any) -> dict[str, float]:
    return model.evaluate(np.asarray(x), np.asarray(y), verbose=0, return_dict=True)


def watched(folder: Path, strategies: list[Strategy], **arguments: Any) -> tuple[Comparison, Any]:
    train, validation, (x, y) = families.data()
    notes: dict[Any, Any] = {}
    defaults = {"starts": {"mine": START}, "space": SPACE, "epochs": EPOCHS, "seeds": 1}
    defaults |= {"isolate": False, "score": score, "verbose": 0, "logs": folder}
    Closed.read = 0
    comparison = compare(
        families.build_with_tally,
        (train, validation, (Closed(x), Closed(y))),
        [Watched(strategy.name, strategy, notes) for strategy in strategies],
        **(defaults | arguments),
    )
    return comparison, notes


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)


def check_budget(comparison: Comparison, notes: Any, name: str, epochs: int = EPOCHS) -> None:
    """Check that the networks have counted what the harness says, and what it allows."""
    [cell] = comparison.of("mine", name)
    assert cell.failure is None
    assert notes[name, 0]["samples"] == epochs * SAMPLES
    assert cell.epochs == len(cell.curve) == epochs


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kaleido", None)
        return watched(tmp_path_factory.mktemp("compare"), STRATEGIES)


@pytest.mark.parametrize("package", LIBRARIES)
def test_the_strategies_of_a_library_have_run_where_it_is_there(everything, package):
    pytest.importorskip(package, reason="pip install 'miha[compare]'")
    comparison, _ = everything
    for strategy in LIBRARIES[package]:
        [cell] = comparison.of("mine", strategy.name)
        assert cell.failure is None and cell.value is not None


@pytest.mark.parametrize("name", [strategy.name for strategy in STRATEGIES])
def test_every_strategy_trains_the_same_epochs_as_its_networks_count_them(everything, name):
    check_budget(*everything, name)


@pytest.mark.slow
@pytest.mark.parametrize("package", FURTHER)
def test_the_further_strategies_of_a_library_run_and_keep_to_the_budget(package, tmp_path):
    pytest.importorskip(package, reason="pip install 'miha[compare]'")
    strategies = FURTHER[package]
    comparison, notes = watched(tmp_path, strategies)
    for strategy in strategies:
        [cell] = comparison.of("mine", strategy.name)
        assert cell.failure is None and cell.value is not None
        check_budget(comparison, notes, strategy.name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two cells of plain training, what they noted, how often test data were read, the folder."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kaleido", None)
        comparison, notes = watched(folder, [Plain()], epochs=2, seeds=2, keep_models=True)
    return comparison, notes, Closed.read, folder


def test_no_strategy_reads_the_test_data_and_the_harness_does_once(plain):
    comparison, _, read, _ = plain
    assert not any(cell.failure for cell in comparison.cells)
    assert read == 2 + 2 * 2  # Inputs and targets: for their checksum, and for each cell's score.


def test_another_seed_begins_with_other_weights_and_the_same_one_ends_alike(plain, tmp_path):
    one, notes, _, _ = plain
    other, _ = watched(tmp_path, [Plain()], epochs=2, seeds=[0])
    weights = [notes["plain training", seed]["weights"][0] for seed in (0, 1)]
    assert not np.array_equal(*weights)
    first, second = ([v for _, v in c.cells[0].curve] for c in (one, other))
    assert first == second and one.cells[0].scores == other.cells[0].scores


def test_the_picked_networks_can_be_kept(plain):
    comparison, _, _, folder = plain
    *_, (x, y) = families.data()
    for cell in comparison.cells:
        model = keras.models.load_model(folder / "models" / f"{cell.place.file}.keras")
        hits = model.predict(x, verbose=0).argmax(-1) == y
        assert hits.mean() == pytest.approx(cell.scores["accuracy"])


def test_reading_the_test_data_would_be_noticed(tmp_path):
    @dataclass(frozen=True)
    class Cheat(Strategy):
        name: str = "cheat"

        def run(self, task: Any) -> Any:
            task.build(task.start)
            Closed.running = True
            try:
                return np.asarray(Closed(np.zeros(1)))
            finally:
                Closed.running = False

    comparison, _ = watched(tmp_path, [Cheat()], epochs=2)
    assert comparison.cells[0].failure == "RuntimeError: a strategy has read the test data."


def test_all_strategies_begin_with_the_same_weights(everything):
    _, notes = everything
    # What begins with a configuration that it draws gives it the first seed all the same.
    names = [strategy.name for strategy in STRATEGIES]
    first = notes[names[0], 0]["weights"]
    for name in names[1:]:
        for one, other in zip(first, notes[name, 0]["weights"], strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_network_that_is_scored_is_the_one_that_validation_picked(everything):
    comparison, _ = everything
    for cell in comparison.cells:
        assert cell.value == min(v for _, v in cell.curve) or cell.place.strategy in (
            "MIHA",  # Its networks are kept when a training ends, not after each epoch.
            "MIHA of 2021",
            "search, then train",
        )
        assert set(cell.scores) == {"accuracy", "loss"} and cell.genome is not None


@pytest.mark.parametrize("name", [strategy.name for strategy in STRATEGIES])
def test_the_network_that_is_returned_has_the_value_that_picked_it(everything, name):
    comparison, notes = everything
    [cell] = comparison.of("mine", name)
    assert notes[name, 0]["value"] == pytest.approx(cell.value, rel=1e-4)


@pytest.mark.slow
def test_optuna_learns_as_early_as_keras_tuner(monkeypatch, tmp_path):
    optuna = pytest.importorskip("optuna", reason="pip install 'miha[compare]'")
    asked, relative = [], optuna.samplers.TPESampler._sample

    def noted(self: Any, study: Any, trial: Any, space: Any, *rest: Any, **more: Any) -> Any:
        asked.append(trial.number)
        return relative(self, study, trial, space, *rest, **more)

    monkeypatch.setattr(optuna.samplers.TPESampler, "_sample", noted)
    watched(tmp_path, [OptunaMedian(trial_epochs=1)], epochs=5)
    assert min(asked) == OptunaMedian().initial == KerasTunerBayesian().initial == 3


def test_what_trains_with_noise_keeps_to_the_budget_and_returns_the_users_network(tmp_path):
    space = dataclasses.replace(SPACE, input_noise=[0.0, 2.0])
    strategy = RandomSearch(trial_epochs=1)
    tried = []

    def noted(task: Any, genome: Any, trial: int = 0) -> Any:
        tried.append(dict(genome.input_noise).get("x", 0.0))
        return build(task, genome, trial)

    build = Task.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "build", noted)
        comparison, notes = watched(tmp_path, [strategy], epochs=4, space=space)
    check_budget(comparison, notes, strategy.name, epochs=4)
    assert tried[0] == 0.0 and 2.0 in tried
    assert notes[strategy.name, 0]["value"] == pytest.approx(comparison.cells[0].value, rel=1e-4)


def test_averaged_weights_are_those_of_the_optimizer(tmp_path):
    comparison, notes = watched(tmp_path, [CosineAverages()], epochs=2)
    [cell] = comparison.cells

    (x, y), validation, _ = families.data()
    averaged = families.build(START)
    keras.utils.set_random_seed(seed_of(0, 0))
    model = families.build_with_tally(START)
    averages: list[Any] = []
    found, trained = [], []

    def follow(batch: int, logs: Any) -> None:
        weights = model.get_weights()
        pairs = zip(averages or weights, weights, strict=True)
        averages[:] = [0.9 * average + 0.1 * weight for average, weight in pairs]

    def look(epoch: int, logs: Any) -> None:
        for weights, values in ((averages, found), (model.get_weights(), trained)):
            averaged.set_weights(weights)
            values.append(averaged.evaluate(*validation, verbose=0, return_dict=True)["loss"])

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=follow, on_epoch_end=look)
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: (0.01, 0.005)[epoch])
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[rates, watch])
    assert [value for _, value in cell.curve] == pytest.approx(found, rel=1e-4)
    assert trained[-1] != pytest.approx(found[-1], rel=1e-3)
    assert notes[cell.place.strategy, 0]["value"] == pytest.approx(cell.value)


def test_early_stopping_leaves_epochs_unused(tmp_path):
    strategy = CosineEarlyStopping(patience=1)
    slow = {"mine": START.replace(learning_rate=1e-9, optimizer="sgd")}
    comparison, notes = watched(tmp_path, [strategy], starts=slow, monitor="val_accuracy")
    check_budget(comparison, notes, strategy.name, epochs=2)


@pytest.mark.slow
def test_a_time_limit_ends_every_strategy(tmp_path):
    strategies = [Plain(), RandomSearch(), Miha(schedule=Schedule(2, 1, 1, 16, 2))]
    comparison, _ = watched(tmp_path, strategies, epochs=52, time_limit=0.01)
    for cell in comparison.cells:
        assert cell.failure is None, cell.failure
        # MIHA ends in order: with its first and last training.
        assert cell.epochs == (4 if cell.place.strategy == "MIHA" else 1)


def test_a_grid_that_does_not_fit_is_left_out():
    wide = GridSearch(optimizers=("adam", "sgd"), activations=("relu", "tanh"), rates=3)
    space = ConfigurationSpace.of(SPACE, [START])
    assert wide.obstacle(space, 12) is None
    assert wide.obstacle(space, 11) == "its grid of 12 configurations does not fit into 11 epochs"


@pytest.mark.slow
def test_a_grid_that_does_not_divide_the_budget_spends_it_all_the_same(tmp_path):
    comparison, notes = watched(tmp_path, [GRID], epochs=7)  # Of two configurations.
    check_budget(comparison, notes, GRID.name, epochs=7)


def test_a_grid_has_every_combination_once_and_one_activation_for_all_layers():
    space = ConfigurationSpace.of(SPACE, [START])
    grid = GridSearch(optimizers=("adam", "sgd"), rates=3).grid(space, 32)
    assert len(set(grid)) == 2 * 3 * 2
    assert {round(g.learning_rate, 6) for g in grid} == {0.001, 0.01, 0.1}


def test_a_schedule_of_another_length_is_left_out():
    assert Miha().obstacle(None, 3) == "its schedule trains 2 epochs, and the budget is 3"
    obstacle = Miha(schedule=Schedule(1, 1, 1, 1, 2)).obstacle(None, 8)
    assert obstacle == "its schedule trains 5 epochs, and the budget is 8"


def test_a_network_that_has_seen_the_validation_data_is_not_compared_by_it():
    search = Search(final_data="all", restore_best=False)
    obstacle = Miha(options={"search": search}).obstacle(None, 200)
    assert obstacle == "it trains on the validation data, by which networks are picked"
    assert Miha().obstacle(None, 200) is None


def test_a_configuration_that_diverges_is_scored_all_the_same(tmp_path):
    train, validation, test = families.data()
    wild = START.replace(optimizer="sgd", learning_rate=1e30)
    comparison = compare(
        *(families.build, (train, validation, test), [Plain()]),
        **{"starts": {"wild": wild}, "space": SPACE, "epochs": 2, "seeds": 1, "isolate": False},
        **{"monitor": "val_loss", "metric": "accuracy", "logs": tmp_path, "verbose": 0},
    )
    assert comparison.cells[0].failure is None
    assert 0 <= comparison.cells[0].scores["accuracy"] <= 1


@pytest.mark.parametrize("layers", [["hidden"], None])
def test_every_configuration_that_miha_trains_is_of_the_shared_space(tmp_path, layers, monkeypatch):
    trained, on_epoch_end = [], Watch.on_epoch_end

    def noted(self: Watch, task: Any, epoch: Any) -> None:
        trained.append(task.genome)
        on_epoch_end(self, task, epoch)

    monkeypatch.setattr(Watch, "on_epoch_end", noted)
    wish = dataclasses.replace(SPACE, layers=layers, activations=["relu", "tanh", "elu"])
    start = START.replace(batch_size=12, activations=(("hidden", "tanh"),) if layers else ())
    schedule = Schedule(1, 1, 1, 5, 4)
    options = {"search": Search(margin=0.0)}
    comparison, _ = watched(
        *(tmp_path, [Miha(schedule=schedule, options=options)]),
        **{"starts": {"odd": start}, "space": wish, "epochs": schedule.epochs},
    )
    assert comparison.cells[0].failure is None, comparison.cells[0].failure
    space = ConfigurationSpace.of(wish, [start])
    for genome in trained:
        values = space.values(genome)
        for name, choices in space.choices.items():
            assert values[name] in choices, name
        assert space.learning_rate[0] <= genome.learning_rate <= space.learning_rate[1]
        assert layers or dict(genome.activations)["hidden"] == "tanh"
    assert len({genome.batch_size for genome in trained}) > 1


def test_a_batch_size_has_the_next_ones_of_the_list_as_neighbours():
    space = Space({}, {}, (8, 40), (0.1, 0.1))
    mutation, rng = NeighbourMutation((8, 16, 24, 32, 64)), np.random.default_rng(0)
    for size, others in {24: {16, 32}, 8: {16}, 32: {24}, 10: {8, 16}}.items():
        genomes = [mutation.mutate(START.replace(batch_size=size), space, rng) for _ in range(40)]
        assert {genome.batch_size for genome in genomes} == others
    assert NeighbourMutation((8,)).mutate(START.replace(batch_size=8), space, rng) is None


@pytest.fixture(scope="module")
def with_gap(tmp_path_factory):
    """MIHA by the rules of today and of 2021, where a value of the user's own picks networks."""
    results = []

    class Spy(MIHA):
        def optimize(self):
            results.append(super().optimize())
            return results[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kaleido", None)
        patch.setattr("miha.compare.strategies.mutation.MIHA", Spy)
        comparison = compare(
            *(families.build_with_gap, families.data(), [Miha(), Miha2021()]),
            **{"starts": {"mine": START}, "space": SPACE, "epochs": 4, "seeds": 1},
            **{"monitor": "val_gap", "mode": "min", "metric_mode": "min", "isolate": False},
            **{"logs": tmp_path_factory.mktemp("gap"), "verbose": 0},
        )
    return comparison, results


def test_miha_is_told_how_a_value_of_the_users_own_is_better(with_gap):
    comparison, _ = with_gap
    assert [cell.failure for cell in comparison.cells] == [None, None]


def test_miha_compares_its_clones_by_the_loss_whatever_picks_the_network(with_gap):
    _, results = with_gap
    assert [result.monitor for result in results] == ["val_loss", "loss"]


@pytest.mark.parametrize(
    "strategy, epochs",
    [
        pytest.param(RandomSearch(trial_epochs=2), 16, marks=pytest.mark.slow),
        (GridSearch(optimizers=("adam",), activations=("relu", "sigmoid", "elu"), rates=1), 6),
        (Miha(), 40),
        *(pytest.param(s, 16, marks=pytest.mark.slow) for s in OF_LIBRARIES + OTHERS),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_best_configuration_is_found_by_what_searches(strategy, epochs, tmp_path):
    cell = found_by(strategy, tmp_path, epochs)
    assert dict(cell.genome["activations"])["hidden"] == "elu"
    assert cell.scores["loss"] < 0.03


def test_plain_training_does_not_find_the_best_configuration(tmp_path):
    cell = found_by(Plain(), tmp_path, 16)
    assert dict(cell.genome["activations"])["hidden"] == "relu" and cell.scores["loss"] > 0.05


def test_networks_of_a_strategy_are_plain_keras(everything):
    assert families.build(START).fit.__func__ is keras.Sequential.fit
