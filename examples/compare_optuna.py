"""MNIST, a dense network: the same budget for MIHA, Optuna and what else one would take.

    python examples/compare_optuna.py                               # data through Keras
    python examples/compare_optuna.py --data mnist.npz --objects 2000 --epochs 100
    python examples/compare_optuna.py --data mnist.npz --strategies plain optuna-then-train miha

The first 10,000 objects, of which 15 % validate. Every strategy trains as many epochs; the network
that its validation accuracy picks is scored on all test objects, and on the first 500 as in MIHA's
article (there MIHA 0.974 with 176 epochs, Optuna 0.976 with layers searched, too). Run it again,
and it goes on where it was interrupted. Tables and figures lie in the folder `--logs`.
"""

import argparse

import numpy as np

from miha import Genome, SearchSpace
from miha.compare import CATALOGUE, OptunaMedian, Strategy, ThenTrain, compare
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

SPACE = SearchSpace(layers=["hidden"], learning_rate=(1e-4, 1e-1), batch_size=(8, 256))
STARTS = {
    "good": Genome("adam", 0.001, 32, (("hidden", "relu"),)),
    "poor": Genome("sgd", 0.01, 128, (("hidden", "sigmoid"),)),
    "random": None,  # Another one for each seed: a user does not know theirs.
}


def strategy(name: str, epochs: int) -> str | Strategy:
    """Return one of the catalogue, or Optuna that keeps a fifth of the epochs for its winner."""
    if name == "optuna-then-train":
        return ThenTrain("Optuna, then training", OptunaMedian(), epochs // 5)
    return name


def build(genome: Genome) -> keras.Model:
    activations = dict(genome.activations)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(400, activation=activations["hidden"], name="hidden"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def score(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    hits = model.predict(x, verbose=0).argmax(-1) == y
    return {"accuracy": hits.mean(), "first 500": hits[:500].mean()}


def load(path: str | None, objects: int):
    if path:
        with np.load(path) as file:
            x, y, x_test, y_test = (file[n] for n in ("x_train", "y_train", "x_test", "y_test"))
    else:
        (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
    x, x_test = ((part.reshape(-1, 784) / 255).astype("float32") for part in (x[:objects], x_test))
    border = int(len(x) * 0.85)
    return (x[:border], y[:border]), (x[border:], y[border:objects]), (x_test, y_test)


if __name__ == "__main__":  # Each cell has a process of its own, which reads this file again.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--objects", type=int, default=10_000, help="objects to learn from")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", default=list(CATALOGUE),
                        choices=[*CATALOGUE, "optuna-then-train"])  # fmt: skip
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--logs", default="logs/compare_optuna")
    args = parser.parse_args()
    comparison = compare(
        build,
        load(args.data, args.objects),
        [strategy(name, args.epochs) for name in args.strategies],
        starts={name: STARTS[name] for name in args.starts},
        space=SPACE,
        epochs=args.epochs,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        monitor="val_accuracy",
        score=score,
        logs=args.logs,
    )
    print(f"\n{comparison.to_markdown()}\nFigures and JSON: {args.logs}")
