"""A network of a run as a file for others, through Keras' own `save` and `export`."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from miha.archive.archive import load
from miha.errors import MihaError
from miha.records import Judge
from miha.results.reader import load_run
from miha.results.result import Result
from miha.results.trials import RunView
from miha.storage.disk import placed
from miha.storage.folder import START, RunFolder
from miha.utils.optional import need
from miha.utils.quiet import quiet

if TYPE_CHECKING:
    import keras

Format = Literal["keras", "onnx", "tf_saved_model"]


def export(
    folder: Path,
    name: str,
    target: Path,
    trust: bool = False,
) -> Path:
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
    archive = _find_archive(load_run(folder), name)
    # What a format needs may import TensorFlow, as Keras does.
    with quiet():
        kind = _format_of(target)
        import_module("keras")
    if target.exists():
        raise MihaError(
            f"`--to` must name something new. Received: {str(target)!r}, which is there. "
            "Delete it, or choose another name."
        )
    model, _ = load(folder / archive, safe_mode=not trust)
    with placed(target):
        folder_beside = tempfile.TemporaryDirectory(dir=target.parent, prefix=".miha-")
        with folder_beside as part:
            written = Path(part) / target.name
            _write(model, written, kind)
            # Moved in one step, so that a half-written network is never found.
            os.replace(written, target)
    return target


def describe_network(folder: Path, name: str) -> str:
    """Return which network of a run a name means, in words.

    E.g. ``"model_3 (cycle 3, winner; the best network), val_loss 0.2143, val_accuracy 0.9"``.
    The arguments are those of `export`.
    """
    result = load_run(folder)
    archive = _find_archive(result, name)
    stem = Path(archive).stem
    found = [trial for trial in RunView.of(result).trials if trial.archive == archive]
    if not found:
        return f"{stem} (the network as it was before the run)"

    trial = found[0]
    roles = [trial.name]
    last, best = result.archives
    if archive == best:
        roles.append("the best network")
    if archive == last:
        roles.append("the last network")
    values = [f"{result.monitor} {trial.value:.4g}"]
    # What the best network is the best in. A run of version 0.3.0 does not say it.
    judge = RunFolder(folder).description()["arguments"].get("judge")
    if judge is not None and judge["name"] != result.monitor:
        values.append(f"{judge['name']} {Judge(**judge).value(trial.record):.4g}")
    return f"{stem} ({'; '.join(roles)}), {', '.join(values)}"


def _find_archive(result: Result, name: str) -> str:
    """Return the archive that a name means."""
    if name in ("best", "last"):
        last, best = result.archives
        return best if name == "best" else last

    archives = [record.archive for record in result.log.trainings]
    known = [archive for archive in archives if archive is not None]
    for archive in [START, *known]:
        path = Path(archive)
        if name in (archive, path.name, path.stem):
            return archive

    own = [archive for archive in known if archive.startswith("model/")]
    shown = [Path(archive).stem for archive in own]
    raise MihaError(
        f"`--model` must be 'best', 'last' or the name of an archive, such as {shown[-5:]} or "
        f"'1_0_model' for clone 0 of cycle 1. Received: {name!r}. Choose one of those."
    )


def _format_of(target: Path) -> Format:
    """Return the format that a name asks for; what it needs must be installed."""
    if target.suffix == ".keras":
        return "keras"
    if target.suffix == ".onnx":
        need("onnx", "onnx")
        need("tf2onnx", "onnx")
        return "onnx"
    if target.suffix in ("", ".savedmodel"):
        return "tf_saved_model"
    raise MihaError(
        "`--to` must end in .keras or .onnx, or be a folder without an ending for TensorFlow's "
        f"SavedModel. Received: {str(target)!r}. Choose one of those."
    )


def _write(
    model: keras.Model,
    path: Path,
    kind: Format,
) -> None:
    try:
        if kind == "keras":
            model.save(path)
        else:
            _call_on_zeros(model)
            # Only where it fails does it matter what the converter says of itself.
            with quiet():
                model.export(path, format=kind, verbose=False)
    except Exception as error:
        raise MihaError(
            f"Keras must be able to export the network. Received: {path.name!r}: {error} "
            "Try another format, or another backend of Keras."
        ) from error


def _call_on_zeros(model: keras.Model) -> None:
    """Call a network once: Keras exports no other."""
    import keras

    if isinstance(model, keras.Sequential):
        model(_zeros(model.inputs[0]))
    elif getattr(model, "inputs", None):
        model(keras.tree.map_structure(_zeros, model.input))


def _zeros(tensor: Any) -> Any:
    import keras

    # The size of a batch is None, and so may be others.
    shape = [size or 1 for size in tensor.shape]
    return keras.ops.zeros(shape, tensor.dtype)
