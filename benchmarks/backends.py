"""What an epoch costs on each backend: MIHA's trainer and `fit`, side by side.

    python benchmarks/backends.py                        # TensorFlow and JAX, noise as data
    python benchmarks/backends.py --data mnist.npz --backends tensorflow jax torch

Each backend runs in processes of its own, in turn, so that a machine that slows down does so for
all. Ratios are of the median epoch, validation included, without those that compile. XLA is
TensorFlow's trainer with `compiler="xla"`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 6
"""Of which the first two are left aside: they compile."""


def load(path: str | None) -> tuple[Any, Any]:
    """Return MNIST-10k, or noise of its shape: 8,500 objects to train on, 1,500 to validate."""
    if path:
        with np.load(path) as file:
            x, y = file["x_train"][:10_000], file["y_train"][:10_000]
    else:
        rng = np.random.default_rng(0)
        x, y = rng.integers(256, size=(10_000, 28, 28)), rng.integers(10, size=10_000)
    x = (x / 255).astype("float32")
    return (x[:8_500], y[:8_500]), (x[8_500:], y[8_500:])


def build() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Flatten(), keras.layers.Dense(400, activation="relu")]
    layers = [keras.Input((28, 28)), *hidden, keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def epochs_of_fit(data: Any, validation: Any) -> list[float]:
    import keras

    ends = [time.perf_counter()]
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    build().fit(
        *data, batch_size=32, epochs=EPOCHS, validation_data=validation, verbose=0,
        callbacks=[watch],
    )  # fmt: skip
    return np.diff(ends).tolist()


def epochs_of_miha(data: Any, validation: Any, compiler: str) -> list[float]:
    import miha

    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            build(), *data, validation_data=validation, batch_size=32, m=EPOCHS, c=0,
            seed=0, verbose=0, logs=Path(folder) / "run",
            execution=miha.Execution(compiler=compiler),
        ).optimize()  # fmt: skip
    seconds = result.history.query("phase == 'initial'")["seconds"]
    return [float(value) for value in seconds]


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Return the median epoch of each way on one backend."""
    data = load(args.data)
    ways = {"fit": lambda: epochs_of_fit(*data), "miha": lambda: epochs_of_miha(*data, "exact")}
    if args.child == "tensorflow":
        ways["miha, XLA"] = lambda: epochs_of_miha(*data, "xla")
    return {name: statistics.median(way()[2:]) for name, way in ways.items()}


def in_a_process(args: argparse.Namespace, backend: str) -> dict[str, float]:
    options = [f"--data={args.data}"] if args.data else []
    command = [sys.executable, __file__, "--child", backend, *options]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {f"{backend}, {name}": seconds for name, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    rounds = [
        {k: v for backend in args.backends for k, v in in_a_process(args, backend).items()}
        for _ in range(args.repeat)
    ]
    base = f"{args.backends[0]}, fit"
    for way in rounds[0]:
        ratios = [found[way] / found[base] for found in rounds]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{way} / {base}: {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()
