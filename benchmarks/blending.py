"""What it is worth to blend an activation that no weights can make up for.

    python benchmarks/blending.py --data ../data

The folder holds ``mnist.npz``, ``cifar10_12k.npz`` and ``lst_gapfilling.npz``. A network with skip
connections is trained for some epochs. Then, for each other activation, it goes on with that one,
in one layer or in all: exchanged at once, and blended over an epoch. Both see the same samples in
the same order; what is told is the validation loss after each epoch.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from tasks import digits, fields, photographs

import miha

L = keras.layers
OTHERS = ("relu", "tanh", "gelu", "softplus", "sigmoid")
EPOCHS = 4


def dense(activation: str) -> keras.Model:
    inputs = keras.Input((784,))
    hidden = L.Dense(96, activation=activation)(inputs)
    for _ in range(3):
        hidden = L.Add()([hidden, L.Dense(96, activation=activation)(hidden)])
    return keras.Model(inputs, L.Dense(10, "softmax")(hidden))


def residual(activation: str) -> keras.Model:
    def convolution(strides: int = 1) -> Any:
        return L.Conv2D(12, 3, strides, padding="same", activation=activation)

    inputs = keras.Input((32, 32, 3))
    hidden = convolution(2)(inputs)
    for _ in range(2):
        inner = L.Conv2D(12, 3, padding="same")(convolution()(hidden))
        hidden = L.Activation(activation)(L.Add()([hidden, inner]))
    hidden = L.Flatten()(L.AveragePooling2D(4)(hidden))
    return keras.Model(inputs, L.Dense(10, "softmax")(hidden))


def unet(activation: str) -> keras.Model:
    def convolution(filters: int) -> Any:
        return L.Conv2D(filters, 3, padding="same", activation=activation)

    inputs = keras.Input((32, 32, 1))
    wide = convolution(8)(inputs)
    narrow = convolution(16)(L.MaxPooling2D()(wide))
    joined = convolution(8)(L.Concatenate()([L.UpSampling2D()(narrow), wide]))
    return keras.Model(inputs, L.Conv2D(1, 3, padding="same")(joined))


CLASSES = "sparse_categorical_crossentropy"
TASKS = {
    "mnist": (digits, dense, CLASSES),
    "cifar": (photographs, residual, CLASSES),
    "lst": (fields, unet, "mse"),
}


def exchanges(task: str, folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Train a network, exchange its activations both ways, and yield what each came to."""
    load, build, loss = TASKS[task]
    (x, y), validation, _ = load(folder)
    keras.utils.set_random_seed(seed)
    own = ("relu", "tanh", "relu")[seed % 3]
    model = build(own)
    model.compile("adam", loss)
    trainer = miha.MIHA(
        model, x, y, validation_data=validation, batch_size=32, seed=seed, c=0, verbose=0
    ).trainer
    before = _train(trainer, 10, seed)[-1]
    start, genome, rng = trainer.snapshot(), trainer.genome, np.random.default_rng(seed)
    slots = list(trainer.space.slots)
    for activation in (name for name in OTHERS if name != own):
        for layers, chosen in (("one", [slots[rng.integers(len(slots))]]), ("all", slots)):
            place = {"task": task, "layers": layers, "seed": seed, "activation": activation}
            changed = genome
            for slot in chosen:
                changed = changed.with_activation(slot, activation)
            for way in ("inherit", "keep_function"):
                trainer.restore(start)
                trainer.express(genome)
                trainer.express(changed, way)
                losses = _train(trainer, EPOCHS, 100 + seed)
                yield place | {"way": way, "before": before, "losses": losses}


def _train(trainer: Any, epochs: int, seed: int) -> list[float]:
    rngs = [np.random.default_rng([seed, i]) for i in range(2)]
    trained = trainer.train(epochs, *rngs, lambda epoch: None)
    return [epoch.logs["val_loss"] for epoch in trained]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the losses at once, and what blending changes, after each epoch, as Markdown."""
    lines = ["| task | layers | before | epoch | at once | blended, less that | better in |"]
    lines.append("|---" * 7 + "|")
    for (task, layers), group in pd.DataFrame(rows).groupby(["task", "layers"], sort=False):
        for epoch in range(EPOCHS):
            group["loss"] = [losses[epoch] for losses in group["losses"]]
            wide = group.pivot(index=["seed", "activation"], columns="way", values="loss")
            gain = wide["keep_function"] - wide["inherit"]
            told = f"{gain.mean():+.4f} ± {gain.sem():.4f} | {(gain < 0).mean():.0%}"
            cells = (task, layers, f"{group['before'].mean():.4f}", epoch + 1)
            lines.append(
                f"| {' | '.join(map(str, cells))} | {wide['inherit'].mean():.4f} | {told} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for task in args.tasks:
        for seed in range(args.seeds):
            rows += exchanges(task, args.data, seed)
            print(f"{task}, seed {seed}: {len(rows)} trainings", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
