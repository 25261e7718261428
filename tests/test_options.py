"""Policies: every option's rule, and what is said of a name that does not exist."""

from __future__ import annotations

import inspect
import math
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest

from miha.api import MIHA, REPLACED
from miha.errors import ArgumentError
from miha.options import Budget, Execution, Search

POLICIES = pytest.mark.parametrize("policy", [Search, Budget, Execution])


def check_refused(policy, arguments, rule):
    """Check that an error has rule, value and cure."""
    with pytest.raises(ArgumentError, match=rule) as refused:
        policy(**arguments)
    text = str(refused.value)
    assert "Received: " in text
    assert text.split("Received: ")[1].count(". ") >= 1  # A cure follows the value.


def test_the_defaults_are_those_of_the_method():
    assert asdict(Search()) == {
        "control": True,
        "restarts": 4,
        "margin": 1.0,
        "rest": True,
        "backtrack": 1.0,
        "anneal": True,
        "crossover": False,
        "restore_best": True,
        "final_data": "train",
    }
    assert asdict(Budget()) == {"seconds": None, "patience": None, "target": None}
    assert asdict(Execution()) == {
        "executor": "local",
        "workers": None,
        "population": "auto",
        "compiler": "auto",
        "data_memory": None,
        "checkpoint_seconds": 60.0,
        "check_finite": True,
    }


def test_the_method_of_2021_has_no_rule_above_the_fitness():
    search = Search.of_2021()
    assert search == Search(
        control=False,
        restarts=0,
        margin=0,
        rest=False,
        backtrack=None,
        anneal=False,
        restore_best=False,
    )
    assert not (search.crossover or search.restore_best)


@POLICIES
def test_a_policy_cannot_be_changed_but_replaced_and_sent(policy):
    made = policy()
    name = fields(policy)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, None)
    assert replace(made) == made == pickle.loads(pickle.dumps(made))


@POLICIES
def test_each_option_is_documented(policy):
    for field in fields(policy):
        assert f"\n        {field.name}: " in inspect.getdoc(policy).replace("\n    ", "\n        ")


# Search.


@pytest.mark.parametrize("value", [-1, 1.5, "4", True, None])
def test_restarts_are_a_whole_number(value):
    check_refused(Search, {"restarts": value}, "`restarts` must be an integer >= 0")


@pytest.mark.parametrize("name", ["margin", "backtrack"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1", True])
def test_a_share_is_a_number_of_at_least_nought(name, value):
    check_refused(Search, {name: value}, f"`{name}` must be a number >= 0, or None")


def test_shares_become_floats_and_none_means_no_margin_and_no_way_back():
    search = Search(margin=2, backtrack=0, restarts=np.int64(3))
    assert (search.margin, search.backtrack, search.restarts) == (2.0, 0.0, 3)
    assert [type(v) for v in (search.margin, search.restarts)] == [float, int]
    assert (Search(margin=None).margin, Search(backtrack=None).backtrack) == (0.0, None)


@pytest.mark.parametrize("name", ["control", "rest", "anneal", "crossover", "restore_best"])
def test_a_switch_is_a_truth_value(name):
    for value, expected in ((1, True), (0, False), (np.bool_(True), True), (None, False)):
        assert getattr(Search(**{name: value}), name) is expected


@pytest.mark.parametrize("value", ["both", None, True])
def test_the_final_data_are_those_of_training_or_all(value):
    arguments = {"final_data": value, "restore_best": False}
    check_refused(Search, arguments, "`final_data` must be one of")


def test_a_run_that_ends_with_its_best_network_trains_on_no_validation_data():
    check_refused(Search, {"final_data": "all"}, "`final_data` must not be 'all' where a run ends")
    assert Search(final_data="all", restore_best=False).final_data == "all"


# Budget.


@pytest.mark.parametrize("value", ["60", math.inf, math.nan, True])
def test_seconds_are_a_finite_number(value):
    check_refused(Budget, {"seconds": value}, "`seconds` must be a finite number")


@pytest.mark.parametrize("value", [0, -1.0])
def test_seconds_are_positive(value):
    check_refused(Budget, {"seconds": value}, "`seconds` must be positive")


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2"])
def test_patience_is_a_whole_number_of_cycles(value):
    check_refused(Budget, {"patience": value}, "`patience` must be an integer >= 1")


@pytest.mark.parametrize("value", [math.nan, -math.inf, True, "0.5"])
def test_a_target_is_a_finite_number(value):
    check_refused(Budget, {"target": value}, "`target` must be a finite number")


def test_good_budgets_become_numbers():
    budget = Budget(seconds=60, patience=np.int32(1), target=-1)
    assert budget == Budget(60.0, 1, -1.0)
    kinds = [type(getattr(budget, field.name)) for field in fields(budget)]
    assert kinds == [float, int, float]


def test_a_budget_says_what_may_end_the_run():
    assert (Budget().is_open, Budget().limits) == (False, "")
    budget = Budget(seconds=90, target=0)
    assert (budget.is_open, budget.limits) == (True, "seconds=90, target=0")
    assert Budget(patience=2).limits == "patience=2"


# Execution.


@pytest.mark.parametrize("value", ["together", 1, None])
def test_a_population_of_another_name_is_refused(value):
    check_refused(
        Execution, {"population": value}, r"`population` must be one of \['auto', 'fused'"
    )


@pytest.mark.parametrize("value", ["graph", None])
def test_a_compiler_of_another_name_is_refused(value):
    check_refused(Execution, {"compiler": value}, r"`compiler` must be one of \['auto', 'exact'")


@pytest.mark.parametrize("value", [-1, 1.5, "1 GB", True])
def test_memory_is_a_whole_number_of_bytes(value):
    check_refused(Execution, {"data_memory": value}, "`data_memory` must be an integer >= 0")


def test_clones_on_workers_do_not_train_together():
    assert not Execution(population="fused").is_remote
    for executor in ("ray", object()):
        assert Execution(executor=executor).is_remote
        assert Execution(executor=executor, population="sequential").is_remote
        arguments = {"executor": executor, "population": "fused"}
        check_refused(Execution, arguments, "`population` must not be 'fused' where clones")


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_workers_are_a_whole_number(value):
    check_refused(Execution, {"workers": value}, "`workers` must be an integer >= 1")


def test_workers_beside_another_executor_are_refused_with_the_cure():
    arguments = {"workers": 3, "executor": "ray"}
    cure = "workers=3 beside executor='ray'. On Ray, write executor=miha.RayExecutor"
    check_refused(Execution, arguments, cure)


def test_clones_on_several_processes_do_not_train_together():
    assert Execution(workers=2).is_remote and not Execution(workers=1).is_remote
    assert not Execution(workers="auto", population="fused").is_remote
    arguments = {"workers": 2, "population": "fused"}
    check_refused(Execution, arguments, "`population` must not be 'fused' where clones")


# Names that do not exist.


@pytest.mark.parametrize(
    ("policy", "name", "nearest"),
    [
        (Search, "restart", "restarts"),
        (Search, "backtracking", "backtrack"),
        (Budget, "second", "seconds"),
        (Budget, "pacience", "patience"),
        (Execution, "executer", "executor"),
        (Execution, "data_memmory", "data_memory"),
        (MIHA, "popsize", "pop_size"),
        (MIHA, "epoch", "epochs"),
        (MIHA, "validation_dat", "validation_data"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(policy, name, nearest):
    with pytest.raises(ArgumentError, match=rf"Received: {name}=\.\.\. Did you mean `{nearest}`\?"):
        policy(**{name: 1})


@pytest.mark.parametrize(
    ("policy", "name", "cure"),
    [
        (Search, "racing", "Leave it out"),
        (Search, "prune", "it made no difference"),
        (Search, "adaptive", "Leave it out"),
        (Search, "recovery", r"fitness=miha\.LevelAndSlope\(recovery=True\)"),
        (Budget, "max_seconds", "Write seconds="),
        (Budget, "max_epochs", r"Write miha\.MIHA\(epochs=\.\.\.\)"),
        (Budget, "epochs", r"Write miha\.MIHA\(epochs=\.\.\.\)"),
        (Execution, "asynchronous", "A population is always waited for"),
    ],
)
def test_an_old_name_is_told_the_new_spelling(policy, name, cure):
    text = rf"`miha\.{policy.__name__}` no longer has the argument `{name}`\. Received: .*{cure}"
    with pytest.raises(ArgumentError, match=text):
        policy(**{name: 1})


@pytest.mark.parametrize("name", REPLACED)
def test_each_argument_of_version_0_3_0_is_told_where_it_is_now(name):
    with pytest.raises(ArgumentError, match=f"no longer has the argument `{name}`") as refused:
        MIHA(None, **{name: 1})
    assert REPLACED[name] in str(refused.value)
    known = inspect.signature(MIHA).parameters
    assert name not in known
    # What the cure names does exist.
    for policy in (Search, Budget, Execution):
        start = f"Write {policy.__name__.lower()}=miha.{policy.__name__}("
        if REPLACED[name].startswith(start):
            option = REPLACED[name].removeprefix(start).split("=")[0]
            assert option in {field.name for field in fields(policy)}
            assert policy.__name__.lower() in known


def test_the_arguments_that_stand_in_a_policy_are_not_arguments_of_miha_too():
    known = {*inspect.signature(MIHA).parameters}
    for policy in (Search, Budget, Execution):
        assert not known & {field.name for field in fields(policy)}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("search", {"control": False}, "Search"),
        ("budget", 60, "Budget"),
        ("execution", "ray", "Execution"),
    ],
)
def test_a_policy_of_another_kind_is_refused(name, value, kind):
    text = rf"`{name}` must be a `miha\.{kind}`\. Received: {name}=.*Write {name}=miha\.{kind}\("
    with pytest.raises(ArgumentError, match=text):
        MIHA(None, None, **{name: value})
