"""What `MIHA` is given: the keywords of version 0.3.0, misspelt ones, and a total of epochs."""

from __future__ import annotations

import inspect

import pytest
from fakes import FakeTrainer
from networks import images

import miha
from miha import MIHA, ArgumentError

OLD = {
    "control": "search=miha.Search(control=...)",
    "restarts": "search=miha.Search(restarts=...)",
    "margin": "search=miha.Search(margin=...)",
    "rest": "search=miha.Search(rest=...)",
    "backtrack": "search=miha.Search(backtrack=...)",
    "anneal": "search=miha.Search(anneal=...)",
    "crossover": "search=miha.Search(crossover=...)",
    "restore_best": "search=miha.Search(restore_best=...)",
    "racing": "Leave it out.",
    "adaptive": "Leave it out.",
    "asynchronous": "Leave it out.",
    "max_seconds": "budget=miha.Budget(seconds=...)",
    "patience": "budget=miha.Budget(patience=...)",
    "target": "budget=miha.Budget(target=...)",
    "max_epochs": "epochs=...",
    "population": "execution=miha.Execution(population=...)",
    "compiler": "execution=miha.Execution(compiler=...)",
    "executor": "execution=miha.Execution(executor=...)",
    "data_memory": "execution=miha.Execution(data_memory=...)",
}
"""The keywords that version 0.3.0 had and this one has not, and how each is written now."""

TRAINERS = []


@pytest.fixture(autouse=True)
def without_keras(monkeypatch):
    """Let no network be made but the fake one, which is noted."""

    def make_trainer(*_, **__):
        TRAINERS.append(FakeTrainer())
        return TRAINERS[-1]

    TRAINERS.clear()
    monkeypatch.setattr("miha.trainer.factory.make_trainer", make_trainer)


def make(folder, **arguments):
    x, y = images(16)
    return MIHA(
        None, x, y, validation_data=(x, y), batch_size=4, seed=0, verbose=0, logs=folder,
        **arguments,
    )  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_a_keyword_of_an_earlier_version_is_refused_with_its_new_spelling(tmp_path, name):
    with pytest.raises(ArgumentError) as refused:
        make(tmp_path / "run", **{name: 1})
    message = str(refused.value)
    assert message.startswith(f"`miha.MIHA` no longer has the argument `{name}`.")
    assert f"Received: {name}=" in message and OLD[name] in message
    assert TRAINERS == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("epoch", "Did you mean `epochs`?"),
        ("validation_dat", "Did you mean `validation_data`?"),
        ("pop_sise", "Did you mean `pop_size`?"),
        ("max_epoch", "Write epochs=..."),
        ("patiense", "Write budget=miha.Budget(patience=...)."),
    ],
)
def test_a_misspelt_keyword_is_refused_with_the_nearest_one(tmp_path, name, nearest):
    with pytest.raises(ArgumentError) as refused:
        make(tmp_path / "run", **{name: 1})
    message = str(refused.value)
    assert message.startswith("`miha.MIHA` must be given arguments that it has.")
    assert f"Received: {name}=" in message and nearest in message
    assert TRAINERS == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("keyword", "cure"),
    [
        ("steps_per_epoch", "`dataset.take(steps)`"),
        ("validation_steps", "`dataset.take(steps)`"),
        ("validation_freq", "evaluated after each epoch"),
        ("initial_epoch", "goes on by itself"),
    ],
)
def test_what_fit_takes_and_a_run_does_not_is_refused_with_a_cure(tmp_path, keyword, cure):
    with pytest.raises(ArgumentError) as refused:
        make(tmp_path / "run", **{keyword: 2})
    assert cure in str(refused.value) and "Did you mean" not in str(refused.value)


def test_a_keyword_that_is_near_to_none_is_refused_with_all_that_there_are(tmp_path):
    with pytest.raises(ArgumentError, match=r"Choose from \['model', 'x', 'y', .*'keep'\]"):
        make(tmp_path / "run", zzz=1)
    assert TRAINERS == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("policy", "keyword", "message"),
    [
        (miha.Search, "racing", "Leave it out"),
        (miha.Search, "prune", "Leave it out"),
        (miha.Search, "adaptive", "Leave it out"),
        (miha.Search, "backtrak", "Did you mean `backtrack`?"),
        (miha.Budget, "max_seconds", "Write seconds=..."),
        (miha.Budget, "max_epochs", "Write miha.MIHA(epochs=...)."),
        (miha.Budget, "second", "Did you mean `seconds`?"),
        (miha.Execution, "asynchronous", "A population is always waited for."),
        (miha.Execution, "compilr", "Did you mean `compiler`?"),
    ],
)
def test_a_policy_explains_its_keywords_too(policy, keyword, message):
    with pytest.raises(ArgumentError) as refused:
        policy(**{keyword: True})
    assert f"Received: {keyword}=" in str(refused.value) and message in str(refused.value)


@pytest.mark.parametrize("name", ["search", "budget", "execution"])
@pytest.mark.parametrize("value", [None, {}, True])
def test_a_policy_is_an_object_of_its_class(tmp_path, name, value):
    with pytest.raises(ArgumentError, match=rf"`{name}` must be a `miha\.{name.title()}`"):
        make(tmp_path / "run", **{name: value})
    assert TRAINERS == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("epochs", [2, 7, 30, 45, 200])
def test_a_total_of_epochs_is_all_that_is_needed_and_is_never_exceeded(tmp_path, epochs):
    run = make(tmp_path / "run", epochs=epochs)
    result = run.optimize()
    assert len(result.history) == sum(trainer.epochs for trainer in TRAINERS) <= epochs
    assert len(result.history) == run.epochs
    # What was chosen is announced before the first epoch.
    announced = (tmp_path / "run" / "run.log").read_text().splitlines()[0]
    schedule = run._plan.schedule
    assert f"MIHA trains {run.epochs} epochs" in announced
    for letter in ("m", "n", "k", "c", "pop_size"):
        assert f"{letter}={getattr(schedule, letter)}" in announced


def test_a_total_of_200_epochs_gives_the_defaults(tmp_path):
    run = make(tmp_path / "run", epochs=200)
    assert run._plan.schedule == make(tmp_path / "run")._plan.schedule
    assert run.epochs == 200


def test_the_constructor_has_at_most_thirty_arguments():
    assert len(inspect.signature(MIHA).parameters) <= 30
