"""Archives as a stranger would write them: whatever is in them, the checksums are right."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras

from miha.archive.archive import pack
from miha.records import Genome
from miha.trainer.network.copies import to_bytes

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
GENOME = Genome("adam", 0.001, 16)


def archive(model: keras.Model) -> bytes:
    """Return what Keras writes of a network, its optimizer's state included."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    return to_bytes(model)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(contents: dict[str, bytes]) -> bytes:
    """Return an archive of MIHA's with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in contents.items():
            if name != "miha.json":
                written.writestr(name, content)
    return pack(buffer.getvalue(), {"genome": GENOME.to_dict()})


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.zip"
    path.write_bytes(data)
    return path


def small() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    model.compile("adam", "mse")
    return model


@cache
def small_archive() -> bytes:
    """Return what Keras writes of a small network; saving it takes longer than most tests."""
    return archive(small())


def forged(
    folder: Path,
    change: Callable[[Any], Any] = lambda config: None,
    data: bytes | None = None,
    weights: bytes | None = None,
) -> Path:
    """Write an archive whose configuration or weights a stranger has changed.

    Args:
        data: What Keras writes of a network; by default the small one.
    """
    contents = members(small_archive() if data is None else data)
    config = json.loads(contents[CONFIG])
    change(config)
    contents[CONFIG] = json.dumps(config).encode()
    contents[WEIGHTS] = contents[WEIGHTS] if weights is None else weights
    return write(folder, packed(contents))


def layer(config: Any, index: int = 1) -> Any:
    """Return the configuration of a network's layer; the first is the input."""
    return config["config"]["layers"][index]


def named(module: str | None, name: str, config: Any = None, **more: Any) -> dict[str, Any]:
    """Return how Keras writes that something has a class."""
    found = {"module": module, "class_name": name, "config": {} if config is None else config}
    return {**found, "registered_name": None, **more}


def function(module: str | None, name: str) -> dict[str, Any]:
    """Return how Keras writes that something is a function."""
    return named(module, "function", name, registered_name=name)
