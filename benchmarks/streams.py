"""What streaming costs beside `fit` on the same source.

    python benchmarks/streams.py

Prints ratios of one run on one machine; run it alone. Both train the dense 784-400-10 network on
30,000 objects at batch size 32, from each kind of source; first and later epochs are timed apart,
since the first one compiles, on both sides. The array that is larger than what may be held on the
device is written to a temporary file, and `fit` reads that same file. Also tells how the resident
memory of a process grows that trains on a memory-mapped array of the size that --megabytes says.
"""

import argparse
import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from miha.data.opening import open_data
from miha.space import SearchSpace
from miha.trainer.factory import make_trainer

BATCH_SIZE, FEATURES = 32, 784


class Pairs(keras.utils.PyDataset):
    """Batches of arrays, as tutorials write them."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return math.ceil(len(self.x) / BATCH_SIZE)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        part = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        return self.x[part], self.y[part]


class Again:
    """A generator of batches that can be read again, with a length."""

    def __init__(self, x: Any, y: Any) -> None:
        self.batches = Pairs(x, y)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return (self.batches[i] for i in range(len(self.batches)))


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(400, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dataset(x: Any, y: Any) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((np.asarray(x), np.asarray(y))).batch(BATCH_SIZE)


def loader(x: Any, y: Any) -> Any:
    import torch

    pairs = torch.utils.data.TensorDataset(torch.tensor(np.asarray(x)), torch.tensor(y))
    return torch.utils.data.DataLoader(pairs, BATCH_SIZE)


class Clock(keras.callbacks.Callback):
    """Notes the seconds of each epoch of `fit`."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def with_fit(epochs: int, shuffle: bool, *data: Any) -> list[float]:
    clock = Clock()
    size = {"batch_size": BATCH_SIZE} if len(data) == 2 else {}
    build().fit(*data, epochs=epochs, shuffle=shuffle, verbose=0, callbacks=[clock], **size)
    return clock.seconds


def with_miha(epochs: int, shuffle: bool, *data: Any) -> list[float]:
    network = build()
    training, _ = open_data(network, *data, room=0)
    trainer = make_trainer(
        network, training, None, batch_size=BATCH_SIZE, validation_batch_size=BATCH_SIZE,
        space=SearchSpace(), shuffle=shuffle, evaluate_training=False, seed=0,
    )  # fmt: skip
    order = np.random.default_rng(0)
    return [epoch.seconds for epoch in trainer.train(epochs, order, order, lambda epoch: None)]


def sources(folder: Path, samples: int) -> dict[str, Callable[[], tuple[Any, ...]]]:
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=samples)
    np.save(folder / "x.npy", rng.normal(size=(samples, FEATURES)).astype("float32"))

    def mapped() -> Any:
        return np.load(folder / "x.npy", mmap_mode="r")

    def in_memory() -> Any:
        return np.load(folder / "x.npy")

    return {
        "memory-mapped array": lambda: (mapped(), y),
        "array in memory": lambda: (in_memory(), y),
        "tf.data.Dataset": lambda: (dataset(mapped(), y),),
        "PyDataset": lambda: (Pairs(mapped(), y),),
        "DataLoader": lambda: (loader(mapped(), y),),
        "iterable (fit: as a PyDataset)": lambda: (Again(in_memory(), y),),
    }


def for_fit(data: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give `fit` a PyDataset in place of an iterable, which it does not take."""
    return (data[0].batches,) if isinstance(data[0], Again) else data


def compare(name: str, make: Callable[[], tuple[Any, ...]], epochs: int, shuffle: bool) -> None:
    ours, theirs = [], []
    for _ in range(2):  # In turn, so that what else the machine does meets both.
        for times, run in ((ours, with_miha), (theirs, with_fit)):
            data = make()
            data = data if run is with_miha else for_fit(data)
            gc.collect()
            times.append(run(epochs, shuffle, *data))
    first, later = (
        [statistics.median(part(run) for run in times) for times in (ours, theirs)]
        for part in (lambda run: run[0], lambda run: statistics.median(run[1:]))
    )
    print(f"{name:32} {first[0] / first[1]:12.2f} {later[0] / later[1]:13.2f}")


def resident_megabytes(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return float("nan")


def print_memory(folder: Path, megabytes: int) -> None:
    samples = megabytes * 2**20 // (4 * FEATURES)
    x = np.lib.format.open_memmap(folder / "large.npy", "w+", "float32", (samples, FEATURES))
    x[::1000] = 1
    del x
    y = np.zeros(samples, "int32")
    with_miha(1, True, np.zeros((4096, FEATURES), "float32"), y[:4096])
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_megabytes("VmRSS")
    with_miha(1, True, np.load(folder / "large.npy", mmap_mode="r"), y)
    growth = resident_megabytes("VmHWM") - before
    print(f"resident memory beside an array of {megabytes} MB: {growth:.0f} MB more at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=2_000, help="of the memory-mapped array")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"Keras on {keras.backend.backend()}; time of MIHA / time of fit (at most 1.10)")
        for shuffle in (False, True):
            print(f"{f'shuffle={shuffle}':32}  first epoch  later epochs")
            for name, make in sources(Path(folder), args.samples).items():
                compare(name, make, args.epochs, shuffle)
        print_memory(Path(folder), args.megabytes)


if __name__ == "__main__":
    main()
