"""The site: its code runs, its names are complete, its sentences are short, its words are plain."""

from __future__ import annotations

import inspect
import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from paths import ROOT

import miha
import miha.compare
import miha.visualization
from miha.cli import _parser
from miha.records import Schedule

DOCUMENTS = ROOT / "docs"
NAVIGATION = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
PLAIN = NAVIGATION[: NAVIGATION.index("faq.md") + 1]
"""The pages from Start to FAQ, for people who do not know MIHA."""

FEWER = {"8500": "40", "10000": "56", "n_trials=10": "n_trials=1", "max_trials=10": "max_trials=1"}
FEWER |= {
    "epochs=200": "epochs=5",
    "epochs=20,": "epochs=1,",
    "validation_folds=5": "validation_folds=2",
}
"""What a page says, and what is enough to see that it runs."""


COMMAND = re.compile(r"(?:make|miha) [\w-]+|python (?:examples|benchmarks|tools)/")


class Block(NamedTuple):
    """Some lines of Python, and what they need that may not be installed."""

    page: str
    code: str
    need: str


def read(page: str) -> str:
    path = ROOT / page if page == "README.md" else DOCUMENTS / page
    return path.read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found = re.findall(r"(?:<!-- needs: (\S+) -->\n+)?```python\n(.*?)```", read(page), re.S)
    return [Block(page, code, need) for need, code in found]


PAGES = [page for page in ("README.md", *NAVIGATION) if blocks(page)]
OPTIONAL = [block for page in PAGES for block in blocks(page) if block.need]


def build_network() -> Any:
    """The network of a page that shows none: it has most genes, and takes its few steps eagerly."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "relu", name=name) for name in ("first", "second")]
    output = keras.layers.Dense(3, "softmax")
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dropout(0.1), output])
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    return model


def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for suffix, count in (("", 48), ("_val", 24), ("_test", 24)):
        y = rng.integers(3, size=count)
        arrays[f"x{suffix}"] = (rng.normal(size=(count, 4)) + y[:, None]).astype("float32")
        arrays[f"y{suffix}"] = y
    return arrays


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Any:
    """A run of five epochs, for pages that speak of one."""
    arrays = data()
    validation = (arrays["x_val"], arrays["y_val"])
    run = miha.MIHA(
        build_network(),
        arrays["x"],
        arrays["y"],
        validation_data=validation,
        **{"m": 1, "n": 1, "k": 1, "c": 1, "pop_size": 2, "seed": 0, "verbose": 0},
        logs=tmp_path_factory.mktemp("run"),
    )
    return run.optimize()


@pytest.fixture
def namespace(result, tmp_path, monkeypatch) -> dict[str, Any]:
    """What a page's first block may use, in an empty folder; every run has five epochs."""
    import keras

    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(255, size=(56, 28, 28))
    mnist = (images, np.arange(56) % 10)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: (mnist, mnist))
    short = Schedule(m=1, n=1, k=1, c=1, pop_size=2)
    monkeypatch.setattr("miha.api.choose_schedule", lambda *letters, **names: short)
    # Few values, for each of them is compiled.
    few = miha.SearchSpace(["adam", "sgd"], ["relu", "tanh"])
    monkeypatch.setattr("miha.api.SearchSpace", lambda: few)
    graph_objects = pytest.importorskip("plotly.graph_objects")
    monkeypatch.setattr(graph_objects.Figure, "show", lambda figure: figure.to_json())
    given = {"keras": keras, "miha": miha, "np": np, "result": result, "model": build_network()}
    return given | data() | {"build_network": build_network, "__name__": "a_page"}


def run(block: Block, namespace: dict[str, Any]) -> None:
    code = block.code
    for said, enough in FEWER.items():
        code = code.replace(said, enough)
    exec(compile(code, block.page, "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, namespace):
    for block in blocks(page):
        if not block.need:
            run(block, namespace)


@pytest.mark.parametrize("block", OPTIONAL, ids=lambda block: f"{block.page}-{block.need}")
def test_code_that_needs_more_runs(block, namespace):
    name, _, value = block.need.partition("=")
    if not value:
        pytest.importorskip(name)
    elif os.environ.get(name) != value:
        pytest.skip(f"{name} is not {value}")
    run(block, namespace)


def test_the_examples_of_docstrings_run(namespace):
    for name in miha.__all__:
        docstring = inspect.getdoc(getattr(miha, name)) or ""
        for code in re.findall(r"```python\n(.*?)```", docstring, re.S):
            run(Block(name, inspect.cleandoc(code), ""), namespace)
    assert namespace["run"].epochs == 5


@pytest.mark.parametrize("page", ["README.md", *NAVIGATION])
def test_the_commands_that_a_page_lists_exist(page):
    listed = re.findall(r"^```\w*\n(.*?)^```", read(page), re.M | re.S)
    lines = [line for block in listed for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines if COMMAND.match(line)]
    for command, *arguments in words:
        if command == "make":
            assert f"\n{arguments[0]}:" in (ROOT / "Makefile").read_text()
        elif command == "python":
            assert (ROOT / arguments[0]).exists()
        else:
            _parser().parse_args(arguments)


def test_arguments_in_groups_are_sections_of_the_reference(monkeypatch):
    griffe = pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(ROOT / "tools")
    extensions = griffe.load_extensions("grouped_args")
    package = griffe.load("miha", search_paths=[ROOT], extensions=extensions)
    sections = package["api.MIHA"].docstring.parse("google")
    groups = [section for section in sections if section.kind.value == "parameters"]
    assert [group.title for group in groups][:2] == [
        "Arguments: as in fit",
        "Arguments: how long what is trained",
    ]
    documented = [argument.name for group in groups for argument in group.value]
    assert documented == list(inspect.signature(miha.MIHA).parameters)


def test_every_public_name_is_in_the_reference():
    named = set(re.findall(r"^::: miha\.(\S+)$", read("api.md"), re.M))
    wanted = {*miha.__all__, "visualization"}
    wanted |= {f"compare.{name}" for name in miha.compare.__all__}
    tools = ("tensorboard.TensorBoard", "tensorboard.to_tensorboard", "mlflow.MLflow")
    tools += ("mlflow.to_mlflow", "optuna.to_optuna")
    wanted |= {f"integrations.{name}" for name in tools}
    assert named == wanted


def test_every_page_is_in_the_navigation():
    assert sorted(NAVIGATION) == sorted(path.name for path in DOCUMENTS.glob("*.md"))


@pytest.mark.parametrize("page", ["README.md", *NAVIGATION])
def test_the_links_of_a_page_lead_to_files(page):
    folder = ROOT if page == "README.md" else DOCUMENTS
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page))
    inner = [target for target in targets if "://" not in target]
    assert [target for target in inner if not (folder / target).exists()] == []


def sentences(text: str) -> list[str]:
    """Return the sentences of a page: of paragraphs, items, headings and cells of tables."""
    text = re.sub(r"```.*?```|<!--.*?-->", "\n\n", text, flags=re.S)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )|\n(?=\|)|\|", text)
    return [piece for part in parts for piece in re.split(r"(?<=[.!?])\s+", " ".join(part.split()))]


@pytest.mark.parametrize("page", PLAIN)
def test_no_sentence_is_too_long(page):
    found = sentences(read(page))
    assert len(found) > 5
    assert [sentence for sentence in found if len(re.findall(r"\w[\w'.,-]*", sentence)) > 35] == []


RIVALS = {
    "offspring": "child",
    "generation": "cycle",
    "individual": "clone",
    "chromosome": "genome",
    "log file": "journal",
    "threshold": "margin",
    "baseline": "control",
}
"""Words that others use, and the glossary's word for the same idea."""


def test_an_idea_has_one_word_and_a_word_one_idea():
    terms = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", read("glossary.md"), re.M)
    names = [name for name, _ in terms]
    assert names == sorted(set(names), key=str.lower)
    # A second sense would have a second sentence of its own.
    assert [name for name, meaning in terms if re.search(r"\. (As|Also|Or|Of) ", meaning)] == []
    assert set(RIVALS.values()) <= set(names)
    for page in PLAIN:
        text = read(page).lower()
        assert [word for word in RIVALS if re.search(rf"\b{word}s?\b", text)] == [], page


def test_code_that_fails_is_found():
    with pytest.raises(NameError):
        run(Block("a page", "print(no_such_name)", ""), {})


def test_a_long_sentence_is_found():
    words = " ".join(["word"] * 36)
    longest = max(sentences(f"# A title\n\n- short. Another {words}.\n\n| a | b |"), key=len)
    assert len(longest.split()) == 37


def folder_of_pictures() -> list[Path]:
    return sorted((DOCUMENTS / "images").iterdir())


def test_pictures_are_small_and_used():
    text = "".join(map(read, NAVIGATION))
    for path in folder_of_pictures():
        assert path.stat().st_size < 100_000 and f"images/{path.name}" in text
