"""A process with two virtual devices, to which the batches of a network are shared out.

Usage: ``python parallel_child.py BACKEND DEED FOLDER``; prints a JSON object at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import MappingProxyType

BACKEND = sys.argv[1]
os.environ["KERAS_BACKEND"] = BACKEND
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
if BACKEND == "tensorflow":
    import tensorflow as tf

    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)

import keras  # noqa: E402
import numpy as np  # noqa: E402

import miha  # noqa: E402
from miha.data.opening import open_data  # noqa: E402
from miha.space import SearchSpace  # noqa: E402
from miha.storage.journal import Journal  # noqa: E402
from miha.trainer.factory import make_trainer  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(75, 8)).astype("float32"), RNG.integers(3, size=75)
SEEN = []

if BACKEND == "tensorflow":
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    keras.distribution.set_distribution(keras.distribution.DataParallel())


@keras.saving.register_keras_serializable("miha_tests")
class Looking(keras.layers.Layer):
    """Notes what part of a batch a device has."""

    def call(self, inputs):
        if BACKEND == "jax":
            import jax

            jax.debug.inspect_array_sharding(inputs, callback=lambda s: SEEN.append(rows(s)))
        else:
            SEEN.append(tf.distribute.get_strategy().num_replicas_in_sync)
        return inputs


def rows(sharding):
    """Return how many parts the first axis of an array is in."""
    return 32 // sharding.shard_shape((32, 8))[0]


def network(optimizer="adam", normalized=False, looking=False):
    def build():
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2)]
        layers += [keras.layers.BatchNormalization()] * normalized + [Looking()] * looking
        layers += [keras.layers.Dense(3, activation="softmax")]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    if BACKEND == "jax":
        return build()
    with STRATEGY.scope():
        return build()


def trainer_of(model, samples=64, batch_size=16, **changes):
    sources = open_data(model, X[:samples], Y[:samples], None, None, (X[:32], Y[:32]), 0.0)
    arguments = {"validation_batch_size": 16, "space": SearchSpace(), "shuffle": False}
    arguments |= {"evaluate_training": False, "seed": 0, "batch_size": batch_size}
    return make_trainer(model, *sources, **arguments | changes)


def train(trainer, epochs=2, noise=None):
    order = np.random.default_rng(0)
    return trainer.train(epochs, order, noise, lambda epoch: None)


def difference(first, second):
    pairs = zip(first, second, strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def beside_fit(samples, optimizer="adam", normalized=False):
    """Return by how much losses and values differ from those of `fit`."""
    model = network(optimizer, normalized)
    history = model.fit(
        X[:samples], Y[:samples], batch_size=16, epochs=2, shuffle=False, verbose=0,
        validation_data=(X[:32], Y[:32]), validation_batch_size=16,
    ).history  # fmt: skip
    trainer = trainer_of(network(optimizer, normalized), samples)
    epochs = train(trainer)
    logged = {name: [epoch.logs[name] for epoch in epochs] for name in history}
    snapshot = trainer.snapshot()
    values = [keras.ops.convert_to_numpy(v) for v in model.variables]
    slots = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    return {
        "logs": difference(logged.values(), history.values()),
        "values": difference(snapshot.variables, values),
        "slots": difference(snapshot.slots, slots),
    }


def restored():
    """Return by how much a training differs that begins again, and one from an archive."""
    trainer = trainer_of(network())
    train(trainer)
    genome, before = trainer.genome, trainer.snapshot()
    train(trainer, noise=np.random.default_rng(3))
    once = trainer.snapshot()
    found = {}
    held = {"snapshot": before, "archive": trainer.recall(trainer.export(before, genome))}
    for name, snapshot in held.items():
        trainer.express(genome.replace(optimizer="sgd", learning_rate=0.01))
        train(trainer, epochs=1)
        trainer.restore(snapshot)
        trainer.express(genome)
        train(trainer, noise=np.random.default_rng(3))
        again = trainer.snapshot()
        found[name] = difference((*once.variables, *once.slots), (*again.variables, *again.slots))
    return found


def few_left(samples):
    """Return whether all is finite where fewer samples than devices are left for a batch."""
    trainer = trainer_of(network(), samples)
    return all(np.isfinite(list(epoch.logs.values())).all() for epoch in train(trainer))


def refused(deed):
    try:
        deed()
    except miha.ArgumentError as error:
        return str(error)
    return "nothing was refused"


def refusals():
    """Return what is said to what cannot be."""
    found = {
        "batch_size": refused(lambda: trainer_of(network(), batch_size=15)),
        "validation": refused(lambda: trainer_of(network(), validation_batch_size=15)),
    }
    if BACKEND == "tensorflow":
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
            other.compile("adam", "mse")
        return found | {"other": refused(lambda: trainer_of(other))}
    found["fused"] = refused(lambda: search(Path("nowhere"), {"population": "fused"}))
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    layouts = keras.distribution.LayoutMap(mesh)
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))
    try:
        return found | {"other": refused(lambda: trainer_of(network()))}
    finally:
        keras.distribution.set_distribution(before)


def numbers():
    looked = trainer_of(network(looking=True), batch_size=32)
    SEEN.clear()
    train(looked, epochs=1)
    return {
        "full": beside_fit(64),
        "parts": max(SEEN),
        "device": looked.device,
        "multiple": looked.space.batch_multiple,
        "logged": list(looked.metrics),
        "refused": refusals(),
    }


def more():
    return {
        "left": beside_fit(70),
        "sgd": beside_fit(64, "sgd"),
        "normalized": beside_fit(64, normalized=True),
        "restored": restored(),
        "finite": few_left(65),
    }


def search(folder, execution=MappingProxyType({}), **changes):
    run = {"m": 1, "n": 1, "k": 1, "c": 3, "pop_size": 5, "batch_size": 12, "seed": 2}
    policies = {"search": miha.Search(rest=False), "execution": miha.Execution(**execution)}
    return miha.MIHA(
        network(), X, Y, validation_data=(X[:33], Y[:33]), logs=folder, verbose=0, **policies,
        **run | changes,
    )  # fmt: skip


def story(folder):
    result = miha.load_run(folder)
    return [
        result.history.drop(columns="seconds").to_json(),
        result.lineage.to_json(),
        [v.tolist() for v in result.model.get_weights()],
    ]


def run():
    folder = Path(sys.argv[3])
    result = search(folder / "whole").optimize()
    cut = shutil.copytree(folder / "whole", folder / "cut")
    Journal(cut / "journal.jsonl").cut(9)
    search(cut).optimize()
    entries = Journal(folder / "whole" / "journal.jsonl").read()
    sizes = [e["genome"]["batch_size"] for e in entries if e["event"] == "training"]
    return {
        "state": result.state,
        "sizes": sorted(set(sizes)),
        "is same": story(folder / "whole") == story(cut),
        "failures": result.lineage["failure"].dropna().tolist(),
        "predicts": bool(np.isfinite(result.model.predict(X[:16], verbose=0)).all()),
    }


def ray():
    """Make a run whose clones train on a worker, which knows nothing of the devices here."""
    executor = miha.RayExecutor(workers=1)
    result = search(Path(sys.argv[3]) / "run", {"executor": executor}, c=1).optimize()
    return {"state": result.state, "failures": result.lineage["failure"].dropna().tolist()}


if __name__ == "__main__":
    print(json.dumps({"numbers": numbers, "more": more, "ray": ray, "run": run}[sys.argv[2]]()))
