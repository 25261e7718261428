"""Importing: light, complete, and without Keras until a network is at hand."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from interpreters import imported
from paths import ROOT

import miha


def test_importing_miha_imports_nothing_heavy():
    assert imported("import miha") == set()


def test_every_public_name_is_there_without_tensorflow_and_keras():
    # A callback of Keras' is a class of Keras'.
    names = "[name for name in miha.__all__ if name != 'ReplayCallback']"
    code = f"import miha\nfor name in {names}: getattr(miha, name)"
    assert imported(code) & {"tensorflow", "keras"} == set()


def test_the_class_miha_is_there_without_anything_heavy():
    assert imported("import miha; miha.MIHA") == set()


def test_the_whole_method_runs_without_tensorflow_and_keras(tmp_path):
    code = f"""
from pathlib import Path
from fakes import make_loop, run
run(make_loop(Path({str(tmp_path)!r})))
"""
    assert imported(code) == {"pandas"}


@pytest.mark.parametrize(
    "module",
    [
        *("cli", "results.export", "integrations.mlflow", "integrations.optuna"),
        *(
            "integrations.tensorboard",
            "report.page",
            "report.terminal",
            "visualization",
            "report.server",
        ),
        *("compare.harness", "compare.figures", "compare.strategies.optuna"),
    ],
)
def test_what_is_not_the_run_itself_imports_nothing_heavy_before_it_is_needed(module):
    assert imported(f"import miha.{module}") == set()


def test_every_name_of_comparisons_is_there_without_what_they_compare_with():
    code = "import miha.compare as c\nfor name in c.__all__: getattr(c, name)"
    assert imported(code) == set()


def test_a_loop_runs_where_no_log_has_been_opened(tmp_path):
    code = f"""
from pathlib import Path
from fakes import make_loop
loop = make_loop(Path({str(tmp_path)!r}), c=0)
loop.run(loop.trainer.genome, loop.start)
"""
    assert imported(code) == set()


@pytest.mark.parametrize("name", miha.__all__)
def test_every_public_name_is_the_thing_of_that_name(name):
    assert getattr(miha, name).__name__ == name


def test_the_names_for_type_checkers_are_the_public_names():
    tree = ast.parse(Path(miha.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    found = [alias.asname for node in block.body for alias in node.names]
    homes = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(found) == sorted(miha.__all__)
    assert all(getattr(miha, name).__module__ == home for name, home in homes.items())


def test_the_public_names_are_listed():
    assert set(dir(miha)) >= set(miha.__all__)


def test_rooms_that_a_user_calls_are_listed_and_loaded_when_first_used():
    rooms = {"compare", "integrations", "visualization"}
    assert rooms | {"__version__"} <= set(dir(miha))
    assert dir(miha.integrations) == ["mlflow", "optuna", "tensorboard"]
    uses = "miha.visualization.plot_lineage, miha.compare.compare, miha.integrations.optuna"
    assert imported(f"import miha; {uses}") == set()
    with pytest.raises(AttributeError, match="'miha.integrations' has no attribute 'keras'"):
        _ = miha.integrations.keras


def test_the_version_is_the_one_that_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "miha.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", miha.__version__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'miha' has no attribute 'Miha'"):
        _ = miha.Miha


def test_a_star_import_brings_the_public_names():
    names: dict = {}
    exec("from miha import *", names)
    assert set(miha.__all__) <= set(names)


def test_the_help_of_the_call_is_grouped_and_has_an_example():
    text = inspect.getdoc(miha.MIHA)
    assert "miha.MIHA(model, x, y, validation_data=" in text
    groups = re.findall(r"^Args \((.*)\):$", text, re.M)
    assert groups == [
        "as in `fit`",
        "how long what is trained",
        "what mutates, and what it is judged by",
        "policies",
        "the run and its folder",
    ]
    # Every argument stands in a group, in the order in which the call has them.
    described = re.findall(r"^    (\w+): ", text[text.index("Args (") :], re.M)
    parameters = list(inspect.signature(miha.MIHA).parameters)
    assert described[: len(parameters)] == parameters
