"""A process that runs MIHA in a folder, its clones on Ray's workers or in itself.

Usage: ``python ray_child.py FOLDER WORKERS [SECONDS]``: 0 workers: no Ray. Prints the workers'
process ids when the run has begun. A clone's epoch takes ``SECONDS`` longer than it need.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import miha

RUN = {"m": 1, "n": 2, "k": 1, "c": 2, "pop_size": 4, "batch_size": 16, "seed": 5, "verbose": 0}
SPACE = {"optimizers": ["adam", "sgd"], "activations": ["relu", "tanh"]}


def search(folder, **changes):
    """Return a small search with Dropout, BatchNormalization and every mutation."""
    from networks import convolutional, images

    return miha.MIHA(
        convolutional(),
        *images(),
        validation_data=images(32, seed=9),
        logs=folder,
        space=miha.SearchSpace(**SPACE),
        **{**RUN, **changes},
    )


def values(folder):
    """Return checksums of the values of each archive, however the archive was packed."""
    result = miha.load_run(folder)
    model = result.model
    held = [np.array(v) for v in (*model.weights, *model.optimizer.variables)]
    history = result.history.drop(columns="seconds")
    sums = {}
    for path in sorted(Path(folder).rglob("*.zip")):
        network = miha.load(path)[0]
        arrays = [np.array(v).tobytes() for v in (*network.weights, *network.optimizer.variables)]
        sums[path.name] = hash_of(b"".join(arrays))
    return json.dumps(
        {
            "history": history.to_json(),
            "lineage": result.lineage.drop(columns="failure").to_json(),
            "failures": result.lineage["failure"].notna().tolist(),
            "values": hash_of(b"".join(v.tobytes() for v in held)),
            "archives": sums,
        }
    )


def hash_of(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    began = time.time()
    folder, workers = sys.argv[1], int(sys.argv[2])
    executor = miha.RayExecutor(workers=workers) if workers else "local"
    search(folder, executor=executor).optimize()
    print(time.time() - began, file=sys.stderr)
    if os.environ.get("TELL"):
        print(values(folder))
