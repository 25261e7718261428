"""A population on two workers against one clone after another.

    python benchmarks/workers.py [--data mnist.npz] [--json two.json]
    python benchmarks/workers.py --executor ray [--json ray.json]

Workers are processes of this machine, or those of Ray, where every process has one core. Run it
alone on an idle machine with two cores. The two are alternated, twice by default. Told are
  - the time of populations one clone after another against that on two workers, in all cycles and
    without the first, in which workers start and every optimizer class is compiled,
  - the share of the workers' time that they wait, as clones are handed out (the longest first),
    and, computed from the same times, as it would be in the order of the clones,
  - the share of their time over a run, its winners' time included, that they have nothing to do:
    measured, and computed from the times of the clones,
  - the time for a clone beside its epochs, on one worker, for a network of 5 MB,
  - the seconds from the call to the first epoch,
  - the script's resident memory over the cycles of a small run.
The network is a dense one on random images; with ``--data``, 784-400-10 on 10,000 images of a file.
``--json`` writes the figures, and the costs that `cluster_model.py --measured` reads.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cluster_model

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def child(task: dict) -> dict:
    """Train one run in a process of its own; return what it measured."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if task["executor"] == "ray":
        environment |= dict.fromkeys(THREADS, "1")
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(task: dict) -> dict:
    """Train a run; what a child does."""
    began = time.perf_counter()
    import keras
    import numpy as np

    import miha

    class Watch(miha.Callback):
        """Notes when epochs and clones have ended, and the memory after each cycle."""

        def __init__(self) -> None:
            self.first, self.memory, self.begun, self.ended = 0.0, [], 0.0, 0.0

        def on_training_end(self, network: object) -> None:
            if network.record.phase == "initial":
                self.begun = time.perf_counter()
            elif network.record.phase == "clone":
                self.ended = time.perf_counter()

        def on_epoch_end(self, task: object, epoch: object) -> None:
            self.first = self.first or time.perf_counter() - began - epoch.seconds

        def on_cycle_end(self, cycle: int, clones: object, winner: object) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    x, y = images(task)
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(task["width"], "relu") for _ in range(task["layers"])]
    model = keras.Sequential(
        [keras.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            *(model, x, y),
            validation_data=(x[:256], y[:256]),
            **{name: task[name] for name in ("m", "n", "k", "c", "pop_size")},
            mutations=task["mutations"],
            search=miha.Search(restarts=0, rest=False, margin=0.0),
            execution=miha.Execution(executor=executor(task)),
            **{"seed": 0, "verbose": 0},
            logs=Path(folder) / "run",
            callbacks=[watch],
        ).optimize()
        clones = result.history[result.history["phase"] == "clone"]
        times = clones.groupby(["cycle", "clone"])["seconds"].sum()
        entries = [json.loads(line) for line in open(Path(folder) / "run" / "journal.jsonl")]
    walls = dict.fromkeys(range(1, task["c"] + 1), 0.0)
    for entry in entries:
        if entry.get("phase") == "clone":
            walls[entry["cycle"]] += entry["seconds"]
    return {
        "wall": sum(walls.values()),
        "later": sum(walls.values()) - walls[1],
        "span": watch.ended - watch.begun,
        "clones": [times[cycle].tolist() for cycle in range(1, task["c"] + 1)],
        "first epoch": watch.first,
        "memory": watch.memory,
        "values": 3 * sum(w.nbytes for w in map(np.asarray, model.get_weights())),
        "winner": result.history.query("phase == 'winner'")["seconds"].mean(),
    }


def images(task: dict) -> tuple:
    """Return random images, or the first ones of a file."""
    import numpy as np

    if task["data"]:
        with np.load(task["data"]) as file:
            x, y = file["x_train"][: task["samples"]], file["y_train"][: task["samples"]]
        return x.reshape(len(x), -1).astype("float32") / 255, y.astype("int64")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(task["samples"], 784)).astype("float32")
    return x, rng.integers(10, size=task["samples"])


def executor(task: dict) -> object:
    """Return where the clones train."""
    import miha
    from miha.executors.processes import ProcessExecutor

    if not task["workers"]:
        return "local"
    chosen = miha.RayExecutor if task["executor"] == "ray" else ProcessExecutor
    return chosen(workers=task["workers"])


def compare(local: dict, two: dict) -> dict:
    """Return what two workers are worth."""
    used = sum(map(sum, two["clones"]))
    in_order = [cluster_model.waiting(seconds, 2) for seconds in two["clones"]]
    cycles = [sorted(seconds, reverse=True) for seconds in two["clones"]]
    return {
        "seconds of a clone, local": sum(map(sum, local["clones"])) / len(sum(local["clones"], [])),
        "populations: local / two workers": local["wall"] / two["wall"],
        "populations after the first: local / two workers": local["later"] / two["later"],
        "waiting, longest first": 1 - used / (2 * two["wall"]),
        "waiting, in the clones' order (computed)": sum(in_order) / len(in_order),
        "idle over the run": 1 - used / (2 * two["span"]),
        "idle over the run (computed)": cluster_model.idle(cycles, 2, two["winner"]),
        "seconds to the first epoch": two["first epoch"],
    }


def costs(two: dict, overhead: float) -> dict:
    """Return what `cluster_model.py` reads."""
    seconds = sum(two["clones"], [])
    mean = sum(seconds) / len(seconds)
    spread = (sum((s - mean) ** 2 for s in seconds) / len(seconds)) ** 0.5 / mean
    return {
        "clone": mean, "spread": spread, "overhead": overhead, "driver": overhead,
        "winner": two["winner"], "values": two["values"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--executor", choices=["processes", "ray"], default="processes")
    parser.add_argument("--data", type=Path, help="an .npz file with x_train and y_train")
    parser.add_argument("--repetitions", type=int, default=2, help="how often both are trained")
    parser.add_argument("--only-pairs", action="store_true", help="leave out memory and overhead")
    parser.add_argument("--quick", action="store_true", help="see that it works; no figures")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.child)))
        return
    large = {"samples": 60_000, "width": 400, "layers": 2, "m": 10, "n": 3, "k": 1, "c": 3}
    large |= {"pop_size": 8}
    if args.data:
        large |= {"samples": 10_000, "layers": 1, "c": 4, "pop_size": 6}
    large["mutations"] = ["learning_rate", "batch_size", "activation"]
    large |= {"executor": args.executor, "data": args.data and str(args.data)}
    five = large | {"width": 440, "layers": 2, "samples": 3000, "m": 1, "n": 1}
    five["mutations"] = ["learning_rate"]
    many = five | {"width": 32, "samples": 500, "c": 50, "pop_size": 4}
    if args.quick:
        small = {"samples": 256, "width": 16, "m": 1, "n": 1, "c": 2, "pop_size": 2}
        large, five, many = large | small, five | small, many | small
    for _ in range(args.repetitions):
        local, two = (child(large | {"workers": number}) for number in (0, 2))
        for name, value in compare(local, two).items():
            print(f"{name}: {value}")
    if args.only_pairs:
        return
    one, long = child(five | {"workers": 1}), child(many | {"workers": 2})
    epochs = sum(map(sum, one["clones"]))
    overhead = (one["wall"] - epochs) / len(sum(one["clones"], []))
    memory = long["memory"]
    found = {
        "seconds a clone beside its epochs, 5 MB": overhead,
        "MB of the script after cycles 5 and last": [memory[min(4, len(memory) - 1)], memory[-1]],
    }
    for name, value in found.items():
        print(f"{name}: {value}")
    if args.json:
        args.json.write_text(
            json.dumps({**compare(local, two), **found, "costs": costs(two, overhead)}, indent=2)
        )


if __name__ == "__main__":
    main()
