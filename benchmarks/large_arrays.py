"""How much memory a run takes whose data is larger than that.

    python benchmarks/large_arrays.py                    # 2 GB: a quick look
    python benchmarks/large_arrays.py --gigabytes 20
    python benchmarks/large_arrays.py --gigabytes 20 --kinds hdf5 chunked --limit 2

Trains a small network by the whole method on one array of pictures: a memory-mapped `.npy`, HDF5
in one piece, HDF5 in chunks. Each run is a process of its own, whose resident memory is watched:
all of it, libraries and the pages of files included. The files are sparse, so they take up little
of the disk, but every value is read, checked and trained on. Fails where a run takes more than
--limit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 128
SAMPLE_BYTES = 4 * SIDE**2


def write_npy(path: Path, samples: int) -> None:
    x = np.lib.format.open_memmap(path, "w+", "float32", (samples, SIDE, SIDE))
    x[::100, 0] = 1


def write_hdf5(path: Path, samples: int) -> None:
    import h5py

    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((samples, SIDE, SIDE))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, settings)
        h5py.Dataset(made)[::100, 0] = 1


def write_chunked(path: Path, samples: int) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        x = file.create_dataset(
            "x", (samples, SIDE, SIDE), "float32", chunks=(1, SIDE, SIDE), compression="lzf"
        )
        for start in range(0, samples, 100):
            x[start : start + 100] = np.ones((1, SIDE, 1), "float32")


def open_npy(path: str) -> Any:
    return np.load(path, mmap_mode="r")


def open_hdf5(path: str) -> Any:
    import h5py

    return h5py.File(path, "r")["x"]


Kind = tuple[Callable[[Path, int], None], Callable[[str], Any]]
KINDS: dict[str, Kind] = {
    "npy": (write_npy, open_npy),
    "hdf5": (write_hdf5, open_hdf5),
    "chunked": (write_chunked, open_hdf5),
}


class Watch(threading.Thread):
    """Notes the most resident memory, and what it is made of, in megabytes."""

    NAMES = ("VmRSS", "RssAnon", "RssFile", "RssShmem")

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.most = dict.fromkeys(self.NAMES, 0.0)

    def run(self) -> None:
        while not self.ended.wait(0.02):
            now = status()
            self.most = {name: max(self.most[name], now[name]) for name in self.NAMES}


def status() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text().splitlines()
    values = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(value) / 1000 for name, value, _ in values}


def train(kind: str, path: str) -> dict[str, Any]:
    """Run the method on an array; return the most memory of this process, in megabytes."""
    watch = Watch()
    watch.start()
    import keras

    import miha

    x = KINDS[kind][1](path)
    y = np.arange(len(x)) % 2
    keras.utils.set_random_seed(0)
    layers = [keras.layers.AveragePooling1D(SIDE), keras.layers.Flatten()]
    layers += [keras.layers.Dense(8, activation="relu")]
    layers += [keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((SIDE, SIDE)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            model, x, y, validation_split=0.02, m=1, n=1, k=1, c=1, pop_size=2, seed=1,
            mutations=["batch_size"], execution=miha.Execution(data_memory=200_000_000),
            logs=Path(folder) / "run", verbose=0,
        ).optimize()  # fmt: skip
    watch.ended.set()
    about = {"epochs": len(result.history), "changes": [str(c) for c in result.lineage["change"]]}
    return about | {"VmHWM": status()["VmHWM"], **watch.most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the array")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--limit", type=float, default=2.0, help="of the memory, in gigabytes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.kinds[0], args.child)))
        return
    samples = int(args.gigabytes * 1e9 / SAMPLE_BYTES)
    for kind in args.kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x"
            KINDS[kind][0](path, samples)
            command = [sys.executable, __file__, "--kinds", kind, "--child", str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{kind}, {args.gigabytes:g} GB:", found, flush=True)
        if found["VmHWM"] > 1000 * args.limit:
            sys.exit(f"More than {args.limit:g} GB of memory.")


if __name__ == "__main__":
    main()
