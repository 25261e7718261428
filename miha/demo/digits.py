"""MIHA on scikit-learn's handwritten digits, beside `fit`: two minutes at most, on two cores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from miha.utils.optional import need
from miha.utils.quiet import quiet

if TYPE_CHECKING:
    import keras

    from miha.results.result import Result

POOR: dict[str, Any] = {"activation": "sigmoid", "optimizer": "sgd", "batch_size": 128}
"""A network whose author did not know what suits it."""

TEXTBOOK: dict[str, Any] = {"activation": "relu", "optimizer": "adam", "batch_size": 32}
"""What a textbook would take."""


class Digits(NamedTuple):
    """1,000 digits to train on, 297 to compare clones by, 500 that nobody sees before the end."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def run_demo(
    cycles: int = 10,
    seed: int = 0,
    logs: Path | None = None,
) -> None:
    """Train a network with MIHA and, for as many epochs, without; print what came of it.

    Args:
        cycles: Cycles of mutation.
        seed: Decides every random draw.
        logs: The run's folder; None: one named by the time.

    Raises:
        MissingPackageError: scikit-learn, which has the digits, is not installed.
    """
    need("sklearn", "examples")
    with quiet():
        import keras
    from miha.api import MIHA

    digits = load()
    keras.utils.set_random_seed(seed)
    untrained = build(POOR, seed)
    run = MIHA(
        untrained,
        *digits.train,
        validation_data=digits.validation,
        m=10,
        n=3,
        k=3,
        c=cycles,
        pop_size=5,
        batch_size=POOR["batch_size"],
        seed=seed,
        logs=logs,
    )
    result = run.optimize()

    rows = {"before training": untrained}
    for words, settings in (("plain training", POOR), ("textbook (adam, relu)", TEXTBOOK)):
        print(f"Without MIHA, for the same {run.epochs} epochs: {words} ...", flush=True)
        rows[f"{run.epochs} epochs, {words}"] = train(settings, digits, run.epochs, seed)
    rows[f"{run.epochs} epochs of MIHA"] = result.model

    console = Console(highlight=False)
    console.print(winners(result))
    console.print(accuracies(rows, digits))
    print(f"Started with: {run.genome}")
    print(f"Ended with:   {result.genome}")
    print(f"The run's folder: {result.run_dir}")
    print(f"Look at it: miha show {result.run_dir}, or miha report {result.run_dir} --open")


def load() -> Digits:
    """Return the digits in three parts."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    train = slice(1000)
    validation = slice(1000, 1297)
    test = slice(1297, None)
    return Digits(
        (x[train], y[train]),
        (x[validation], y[validation]),
        (x[test], y[test]),
    )


def build(
    settings: dict[str, Any],
    seed: int,
) -> keras.Model:
    """Return a network, built and compiled as always."""
    import keras

    keras.utils.set_random_seed(seed)
    activation = settings["activation"]
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation=activation, name="first"),
            keras.layers.Dense(32, activation=activation, name="second"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = settings["optimizer"]
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(
    settings: dict[str, Any],
    digits: Digits,
    epochs: int,
    seed: int,
) -> keras.Model:
    """Return a network that `fit` has trained."""
    model = build(settings, seed)
    model.fit(*digits.train, batch_size=settings["batch_size"], epochs=epochs, verbose=0)
    return model


def winners(result: Result) -> Table:
    """Return a table of who was tried in each cycle, who won, and why."""
    table = Table(title="Lineage: who was tried in each cycle, in bold who won, and why")
    for name in ("cycle", "clone", "change", result.monitor, "reason"):
        is_text = name in ("change", "reason")
        table.add_column(name, justify="left" if is_text else "right")
    for row in result.lineage.itertuples():
        table.add_row(
            str(row.cycle),
            str(row.clone),
            escape(str(row.change)),
            f"{row.value:.4f}",
            escape(str(row.reason)),
            style="bold" if row.selected else "",
        )
    return table


def accuracies(
    rows: dict[str, keras.Model],
    digits: Digits,
) -> Table:
    """Return a table of what networks make of digits that none of them has seen."""
    table = Table("network", title="Accuracy on 500 digits that no network has seen")
    table.add_column("accuracy", justify="right")
    for words, model in rows.items():
        measured = model.evaluate(*digits.test, verbose=0, return_dict=True)
        table.add_row(words, f"{measured['accuracy']:.3f}")
    return table
