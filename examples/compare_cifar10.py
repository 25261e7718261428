"""CIFAR-10, a block network of fixed topology: directed search against random search.

    python examples/compare_cifar10.py                            # data through Keras
    python examples/compare_cifar10.py --data cifar10_12k.npz --objects 2000
    python examples/compare_cifar10.py --objects 50000 --epochs 200   # where a GPU is at hand

The network of the MiniNAS article: blocks of 3 x 3 convolutions and pooling, a dense layer of 1,024
units; here optimizer, learning rate, batch size and activations are searched. All strategies train
as many epochs; `epochs.png` in the folder `--logs` shows the best network so far. Run it again, and
it goes on where it was interrupted.
"""

import argparse

import numpy as np

from miha import Genome, SearchSpace
from miha.compare import CATALOGUE, compare
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

LAYERS = ("input_block", "block_1", "block_2", "hidden")
SPACE = SearchSpace(layers=LAYERS, learning_rate=(1e-4, 1e-1), batch_size=(8, 256))
STARTS = {
    "good": Genome("adam", 0.001, 32, tuple((name, "relu") for name in LAYERS)),
    "poor": Genome("sgd", 0.01, 128, tuple((name, "sigmoid") for name in LAYERS)),
    "random": None,  # Another one for each seed: a user does not know theirs.
}


def build(genome: Genome) -> keras.Model:
    layers, activations = keras.layers, dict(genome.activations)

    def block(name: str) -> list[keras.layers.Layer]:
        same = {"padding": "same", "activation": activations[name], "name": name}
        return [layers.Conv2D(32, 3, **same), layers.MaxPooling2D()]

    blocks = [layer for name in LAYERS[:3] for layer in block(name)]
    hidden = layers.Dense(1024, activation=activations["hidden"], name="hidden")
    output = layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input((32, 32, 3)), *blocks, layers.Flatten(), hidden, output])
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load(path: str | None, objects: int):
    if path:
        with np.load(path) as file:
            x, y, x_test, y_test = (file[n] for n in ("x_train", "y_train", "x_test", "y_test"))
    else:
        (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
    x, x_test = ((part / 255).astype("float32") for part in (x[:objects], x_test))
    border = int(len(x) * 0.85)
    return (x[:border], y[:border]), (x[border:], y[border:objects]), (x_test, y_test)


if __name__ == "__main__":  # Each cell has a process of its own, which reads this file again.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.cifar10")
    parser.add_argument("--objects", type=int, default=10_000, help="objects to learn from")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    directed = ["optuna", "optuna-hyperband", "keras-tuner-bayesian", "ray-pbt", "miha"]
    parser.add_argument("--strategies", nargs="+", default=["random", *directed], choices=CATALOGUE)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--logs", default="logs/compare_cifar10")
    args = parser.parse_args()
    comparison = compare(
        build,
        load(args.data, args.objects),
        args.strategies,
        starts={name: STARTS[name] for name in args.starts},
        space=SPACE,
        epochs=args.epochs,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        monitor="val_accuracy",
        logs=args.logs,
    )
    print(f"\n{comparison.to_markdown()}\nFigures and JSON: {args.logs}")
