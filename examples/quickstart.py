"""MIHA on scikit-learn's handwritten digits: two minutes at most, on two cores.

    python examples/quickstart.py

Compares the same network, from the same poor start, trained for as many epochs with and
without mutations.
"""

import argparse

import keras
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import miha

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--cycles", type=int, default=10, help="cycles of mutation, c")
parser.add_argument("--seed", type=int, default=0, help="decides every random draw")
parser.add_argument("--logs", default=None, help="the run's folder")
args = parser.parse_args()

# 1. The data: 1,000 digits to train on, 297 to compare clones by, 500 that nobody sees.
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
train, validation, test = slice(0, 1000), slice(1000, 1297), slice(1297, None)


# 2. A network, built and compiled as always. Its author did not know what suits it.
def build() -> keras.Model:
    keras.utils.set_random_seed(args.seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="sigmoid", name="first"),
            keras.layers.Dense(32, activation="sigmoid", name="second"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# 3. MIHA in place of `fit`.
run = miha.MIHA(
    build(),
    x[train],
    y[train],
    validation_data=(x[validation], y[validation]),
    m=10,
    n=3,
    k=3,
    c=args.cycles,
    pop_size=5,
    batch_size=128,
    seed=args.seed,
    logs=args.logs,
)
result = run.optimize()

# 4. The same network without mutations, for as many epochs.
untrained, plain = build(), build()
print(f"Plain training for the same {run.epochs} epochs ...")
plain.fit(x[train], y[train], batch_size=128, epochs=run.epochs, verbose=0)


def accuracy(model: keras.Model) -> float:
    return model.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"]


table = Table(title="Lineage: who was tried in each cycle, in bold who won, and why")
for name in ("cycle", "clone", "change", "val_loss", "reason"):
    table.add_column(name, justify="left" if name in ("change", "reason") else "right")
for row in result.lineage.itertuples():
    table.add_row(
        str(row.cycle),
        str(row.clone),
        row.change,
        f"{row.value:.4f}",
        row.reason,
        style="bold" if row.selected else "",
    )
Console().print(table)
for when, model in (
    ("before training", untrained),
    (f"after {run.epochs} epochs of plain training", plain),
    (f"after {run.epochs} epochs of MIHA", result.model),
):
    print(f"Test accuracy {when + ':':<38}{accuracy(model):.3f}")
print(f"Started with: {run.genome}")
print(f"Ended with:   {result.genome}")
print(f"The run's folder: {result.run_dir}")
