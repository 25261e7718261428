"""A population on Ray against one clone after another, each with one core.

    python benchmarks/ray_population.py [--json ray.json]

Run it alone on an idle machine with two cores: the figures are of one run. Told are
  - the time of populations on two workers against one core without Ray,
  - the share of the workers' time that they wait, as clones are handed out (the longest first),
    and, computed from the same times, as it would be in the order of the clones,
  - the share of their time over a run, its winners' time included, that they have nothing to do:
    measured, and computed from the times of the clones,
  - the time for a clone beside its epochs, on one worker, for a network of 5 MB,
  - the seconds from the call to the first epoch,
  - the driver's resident memory over the cycles of a small run.
``--json`` writes them, and the costs that `cluster_model.py --measured` reads.
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
    """Train one run in a process of its own with one thread; return what it measured."""
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"TF_CPP_MIN_LOG_LEVEL": "3"}
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

    rng = np.random.default_rng(0)
    x = rng.normal(size=(task["samples"], 784)).astype("float32")
    y = rng.integers(10, size=task["samples"])
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(task["width"], "relu") for _ in range(2)]
    model = keras.Sequential(
        [keras.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    workers, watch = task["workers"], Watch()
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            *(model, x, y),
            validation_data=(x[:256], y[:256]),
            **{"m": 1, "n": task["n"], "k": 1, "c": task["c"], "pop_size": task["pop_size"]},
            mutations=task["mutations"],
            search=miha.Search(restarts=0, rest=False, margin=0.0),
            execution=miha.Execution(
                executor=miha.RayExecutor(workers=workers) if workers else "local"
            ),
            **{"seed": 0, "verbose": 0},
            logs=Path(folder) / "run",
            callbacks=[watch],
        ).optimize()
        clones = result.history[result.history["phase"] == "clone"]
        times = clones.groupby(["cycle", "clone"])["seconds"].sum()
        entries = [json.loads(line) for line in open(Path(folder) / "run" / "journal.jsonl")]
    walls = [e["seconds"] for e in entries if e.get("phase") == "clone"]
    return {
        "wall": sum(walls),
        "span": watch.ended - watch.begun,
        "clones": [times[cycle].tolist() for cycle in range(1, task["c"] + 1)],
        "first epoch": watch.first,
        "memory": watch.memory,
        "values": 3 * sum(w.nbytes for w in map(np.asarray, model.get_weights())),
        "winner": result.history.query("phase == 'winner'")["seconds"].mean(),
    }


def compare(local: dict, two: dict) -> dict:
    """Return what two workers are worth."""
    used = sum(map(sum, two["clones"]))
    in_order = [cluster_model.waiting(seconds, 2) for seconds in two["clones"]]
    cycles = [sorted(seconds, reverse=True) for seconds in two["clones"]]
    return {
        "seconds of a clone, local": sum(map(sum, local["clones"])) / len(sum(local["clones"], [])),
        "populations: local / two workers": local["wall"] / two["wall"],
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
    parser.add_argument("--quick", action="store_true", help="see that it works; no figures")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.child)))
        return
    large = {"samples": 60_000, "width": 400, "n": 3, "c": 3, "pop_size": 8}
    large["mutations"] = ["learning_rate", "batch_size", "activation"]
    five = large | {"width": 440, "samples": 3000, "n": 1, "mutations": ["learning_rate"]}
    many = five | {"width": 32, "samples": 500, "c": 50, "pop_size": 4}
    if args.quick:
        small = {"samples": 256, "width": 16, "n": 1, "c": 2, "pop_size": 2}
        large, five, many = large | small, five | small, many | small
    local, two = (child(large | {"workers": number}) for number in (0, 2))
    one, long = child(five | {"workers": 1}), child(many | {"workers": 2})
    epochs = sum(map(sum, one["clones"]))
    overhead = (one["wall"] - epochs) / len(sum(one["clones"], []))
    memory = long["memory"]
    found = {
        **compare(local, two),
        "seconds a clone beside its epochs, 5 MB": overhead,
        "MB of the driver after cycles 5 and last": [memory[min(4, len(memory) - 1)], memory[-1]],
    }
    for name, value in found.items():
        print(f"{name}: {value}")
    if args.json:
        args.json.write_text(json.dumps({**found, "costs": costs(two, overhead)}, indent=2))


if __name__ == "__main__":
    main()
