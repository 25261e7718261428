"""The tasks of the ablation: data, networks, and what a training starts from.

``--data`` of the scripts is the folder with ``mnist.npz``, ``cifar10_12k.npz``,
``lst_gapfilling.npz``, ``segment.npz`` and ``japanese_vowels.npz``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

import miha
from miha.records import Genome, Schedule

L = keras.layers
Arrays = tuple[np.ndarray, np.ndarray]

Parts = tuple[Arrays, Arrays, Arrays]
"""Training, validation and test data."""

CLASSES = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Experiment:
    """One task.

    Attributes:
        load: From the folder to training, validation and test data.
        layers: From an activation to the network's layers.
        loss: The loss, and metric whose value on the test data is reported.
        metric: Name of that metric.
        mode: Whether it is better small or large.
        monitor: What the best network of a plain training is the best in, on the validation data.
        schedule: The epochs of MIHA; all others train as many.
        augmentation: Returns the layers that change its images at random; None: it has no images,
            or targets that would have to change with them.
    """

    load: Callable[[Path], Parts]
    layers: Callable[[str], list[Any]]
    loss: str
    metric: str
    mode: str
    monitor: str
    schedule: Schedule
    augmentation: Callable[[], list[Any]] | None = None

    @property
    def metrics(self) -> list[str]:
        """What a network is compiled with."""
        return ["accuracy"] if self.metric == "accuracy" else []


def digits(folder: Path, count: int = 2_000) -> Parts:
    """Return MNIST-10k, of whose training objects so many; 1,500 to validate, 10,000 to test."""
    return _images(folder / "mnist.npz", (784,), count)


def photographs(folder: Path, tests_unused: bool = True) -> Parts:
    """Return CIFAR-12k, of whose training objects 2,000; 1,500 to validate, 8,500 to test.

    Args:
        folder: Where the file is.
        tests_unused: Whether the 6,500 training objects between are tested on, too; without
            them, there are 2,000.
    """
    path, shape = folder / "cifar10_12k.npz", (32, 32, 3)
    train, validation, (x_test, y_test) = _images(path, shape, 2_000)
    if not tests_unused:
        return train, validation, (x_test, y_test)
    (x, y), _, _ = _images(path, shape, 8_500)
    test = np.concatenate([x_test, x[2_000:]]), np.concatenate([y_test, y[2_000:]])
    return train, validation, test


def _images(path: Path, shape: tuple[int, ...], count: int) -> Parts:
    with np.load(path) as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = ((part.reshape(-1, *shape) / 255).astype("float32") for part in (x, x_test))
    train, validation = slice(count), slice(8_500, 10_000)
    return (x[train], y[train]), (x[validation], y[validation]), (x_test, y_test)


def fields(folder: Path) -> Parts:
    """Return LST gap-filling: 991 windows to train on, 464 to validate, 598 to test."""
    (x, y), validation, test = _parts(folder / "lst_gapfilling.npz")
    return (x[::2], y[::2]), validation, test


def regions(folder: Path) -> Parts:
    """Return image segmentation: 1,100, 400 and 810 objects, standardised by the first."""
    parts = _parts(folder / "segment.npz")
    x_train, _ = parts[0]
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    train, validation, test = [((x - mean) / deviation, y) for x, y in parts]
    return train, validation, test


def speakers(folder: Path) -> Parts:
    """Return Japanese Vowels: 200, 70 and 370 series of 25 steps, as they are."""
    return _parts(folder / "japanese_vowels.npz")


def _parts(path: Path) -> Parts:
    with np.load(path) as file:
        train, validation, test = [
            (file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "val", "test")
        ]
    return train, validation, test


def dense(activation: str) -> list[Any]:
    return [
        keras.Input((784,)),
        L.Dense(128, activation=activation),
        L.Dense(64, activation=activation),
        L.Dense(10, activation="softmax"),
    ]


def convolutional(activation: str) -> list[Any]:
    blocks = [
        [
            L.Conv2D(filters, 3, padding="same"),
            L.BatchNormalization(),
            L.Activation(activation),
            L.MaxPooling2D(),
        ]
        for filters in (8, 16)
    ]
    head = [L.Flatten(), L.Dropout(0.3), L.Dense(64, activation=activation)]
    return [keras.Input((32, 32, 3)), *blocks[0], *blocks[1], *head, L.Dense(10, "softmax")]


def autoencoder(activation: str) -> list[Any]:
    same = {"padding": "same", "activation": activation}
    return [
        keras.Input((32, 32, 1)),
        L.Conv2D(8, 3, **same),
        L.MaxPooling2D(),
        L.Conv2D(16, 3, **same),
        L.UpSampling2D(),
        L.Conv2D(8, 3, **same),
        L.Conv2D(1, 3, padding="same"),
    ]


def small_dense(activation: str) -> list[Any]:
    return [
        keras.Input((18,)),
        L.Dense(64, activation=activation),
        L.Dense(32, activation=activation),
        L.Dense(7, activation="softmax"),
    ]


def recurrent(activation: str) -> list[Any]:
    """Return a GRU; the textbook's has tanh where its other networks have relu."""
    own = "tanh" if activation == "relu" else activation
    return [keras.Input((25, 12)), L.GRU(32, activation=own), L.Dense(9, activation="softmax")]


def shifted_digits() -> list[Any]:
    return [L.Reshape((28, 28, 1)), L.RandomTranslation(0.1, 0.1), L.Flatten()]


def shifted_photographs() -> list[Any]:
    return [L.RandomFlip("horizontal"), L.RandomTranslation(0.1, 0.1)]


CLASSIFIED: Any = (CLASSES, "accuracy", "max", "val_accuracy")
LONG = Schedule(10, 2, 2, 6, 5)
EXPERIMENTS = {
    "mnist": Experiment(digits, dense, *CLASSIFIED, LONG, shifted_digits),
    "lst": Experiment(fields, autoencoder, "mse", "loss", "min", "val_loss", LONG),
    "cifar-2k": Experiment(
        photographs, convolutional, *CLASSIFIED, Schedule(6, 2, 2, 4, 5), shifted_photographs
    ),
    "segment": Experiment(regions, small_dense, *CLASSIFIED, LONG),
    "vowels": Experiment(speakers, recurrent, *CLASSIFIED, LONG),
}
EXPERIMENTS["mnist-10k"] = replace(EXPERIMENTS["mnist"], load=partial(digits, count=8_500))
EXPERIMENTS["cifar"] = replace(
    EXPERIMENTS["cifar-2k"], load=partial(photographs, tests_unused=False)
)

FORMER = ("cifar",)
"""Tasks of earlier tables, which are trained where they are asked for by name."""

GOOD = Genome("adam", 0.001, 32, (("all", "relu"),))
POOR = Genome("sgd", 0.01, 128, (("all", "sigmoid"),))


def start_of(name: str, seed: int) -> Genome:
    """Return a start: the good one, the poor one, or a random one for each seed.

    "random-3" is that of seed 3, for every seed: what it is worth shows in several trainings.
    """
    if name in ("good", "poor"):
        return GOOD if name == "good" else POOR
    rng = np.random.default_rng([7, int(name.partition("-")[2] or seed)])
    optimizer = rng.choice(miha.space.OPTIMIZERS)
    rate = keras.optimizers.get(optimizer).get_config()["learning_rate"]
    activation = str(rng.choice(miha.space.ACTIVATIONS))
    size = int(2 ** rng.integers(3, 9))
    rate *= 10 ** rng.uniform(-1.5, 0.7)
    return Genome(str(optimizer), float(f"{rate:.3g}"), size, (("all", activation),))
