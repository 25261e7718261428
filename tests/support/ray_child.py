"""A process that runs MIHA in a folder, its clones on Ray's workers or in itself.

Usage: ``python ray_child.py FOLDER WORKERS [DATA]``; 0 workers: no Ray. ``DATA`` is "load_data"
where each worker loads the data, "dataset" where it is what cannot be sent. Prints at the end what
two equal runs have in common.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import keras
from networks import convolutional, images

import miha

RUN = {"m": 1, "n": 2, "k": 1, "c": 2, "pop_size": 4, "batch_size": 16, "seed": 5, "verbose": 0}
SPACE = {"optimizers": ["adam", "sgd"], "activations": ["relu", "tanh"]}


def data():
    (x, y), validation = images(), images(32, seed=9)
    return {"x": x, "y": y, "validation_data": validation}


def dataset():
    import tensorflow as tf

    return {"x": tf.data.Dataset.from_tensor_slices(images()).batch(16)}


def search(folder, workers, way):
    """Return a small search with Dropout, BatchNormalization and every mutation."""
    load_data = data if way == "load_data" else None
    executor = miha.RayExecutor(workers=workers, load_data=load_data) if workers else "local"
    given = dataset() if way == "dataset" else data()
    space = miha.SearchSpace(**SPACE)
    execution = miha.Execution(executor=executor)
    return miha.MIHA(convolutional(), **given, logs=folder, space=space, execution=execution, **RUN)


def summary(folder):
    """Return what two equal runs have in common, the values of every archive among it."""
    result = miha.load_run(folder)
    return {
        "state": result.state,
        "history": result.history.drop(columns="seconds").to_json(),
        "lineage": result.lineage.to_json(),
        "values": {path.name: checksum(path) for path in sorted(Path(folder).rglob("*.zip"))},
    }


def checksum(path):
    network = miha.load(path)[0]
    variables = [*network.weights, *network.optimizer.variables]
    held = (keras.ops.convert_to_numpy(variable).tobytes() for variable in variables)
    return hashlib.sha256(b"".join(held)).hexdigest()


if __name__ == "__main__":
    folder, workers, way = (*sys.argv[1:], "")[:3]
    search(folder, int(workers), way).optimize()
    print(json.dumps(summary(folder)))
