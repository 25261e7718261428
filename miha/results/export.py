"""A network of a run as a file for others, through Keras' own `save` and `export`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.archive.archive import load
from miha.errors import MihaError
from miha.results.reader import load_run
from miha.results.result import Result
from miha.storage.disk import placed
from miha.utils.optional import need

if TYPE_CHECKING:
    import keras


def export(folder: Path, name: str, target: Path, trust: bool = False) -> Path:
    """Write one of a run's networks.

    Args:
        folder: The run's.
        name: ``"best"``, ``"last"``, or an archive's name with or without folder and ending.
        target: ``NAME.keras``, ``NAME.onnx``, or a folder for TensorFlow's SavedModel. It must
            not be there yet.
        trust: Whether to load an archive that holds code.

    Returns:
        What was written.

    Raises:
        MihaError: There is no such archive, the target is there, or Keras cannot export it.
        StorageError: It cannot be written.
        MissingPackageError: A package that the format needs is not installed.
    """
    archive = _archive(load_run(folder), name)
    write = _writer(target)
    if target.exists():
        raise MihaError(
            f"`--to` must name something new. Received: {str(target)!r}, which is there. "
            "Delete it, or choose another name."
        )
    model, _ = load(folder / archive, safe_mode=not trust)
    with placed(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".miha-") as part:
        written = Path(part) / target.name
        _write(write, model, written)
        os.replace(written, target)  # Whole, or not at all.
    return target


def _archive(result: Result, name: str) -> str:
    """Return the archive that a name means."""
    if name in ("best", "last"):
        last, best = result.archives
        return best if name == "best" else last
    known = [record.archive for record in result.log.trainings if record.archive is not None]
    for archive in ["model/model_start.zip", *known]:
        if name in (archive, Path(archive).name, Path(archive).stem):
            return archive
    shown = [Path(archive).stem for archive in known if archive.startswith("model/")]
    raise MihaError(
        f"`--model` must be 'best', 'last' or the name of an archive, such as {shown[-5:]} or "
        f"'1_0_model' for clone 0 of cycle 1. Received: {name!r}. Choose one of those."
    )


def _writer(target: Path) -> Callable[[keras.Model, Path], Any]:
    """Return how to write a file or folder of that name."""
    if target.suffix == ".keras":
        return lambda model, path: model.save(path)
    if target.suffix == ".onnx":
        need("onnx", "onnx")
        need("tf2onnx", "onnx")
        return lambda model, path: _called(model).export(path, format="onnx", verbose=False)
    if target.suffix in ("", ".savedmodel"):
        return lambda model, path: _called(model).export(
            path, format="tf_saved_model", verbose=False
        )
    raise MihaError(
        "`--to` must end in .keras or .onnx, or be a folder without an ending for TensorFlow's "
        f"SavedModel. Received: {str(target)!r}. Choose one of those."
    )


def _write(write: Callable[[Any, Path], Any], model: Any, path: Path) -> None:
    try:
        write(model, path)
    except Exception as error:
        raise MihaError(
            f"Keras must be able to export the network. Received: {path.name!r}: {error} "
            "Try another format, or another backend of Keras."
        ) from error


def _called(model: Any) -> Any:
    """Return a network after it has been called on zeros: Keras exports no other."""
    import keras

    if isinstance(model, keras.Sequential):
        model(_zeros(model.inputs[0]))
    elif getattr(model, "inputs", None):
        model(keras.tree.map_structure(_zeros, model.input))
    return model


def _zeros(tensor: Any) -> Any:
    import keras

    return keras.ops.zeros([size or 1 for size in tensor.shape], tensor.dtype)
