"""A run for TensorBoard: ``tensorboard --logdir logs/<run>/tensorboard``.

The main line is a run of TensorBoard, and so is every clone, with its hyperparameters. Which of
these there are TensorBoard finds out by itself: with a new optimizer others may come.
``pip install 'miha[tensorboard]'`` installs what it needs; TensorFlow is not.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.callbacks import Callback
from miha.records import TrainingRecord
from miha.results.reader import start_time, load_run
from miha.results.trials import RunView, TrainingView, is_number
from miha.storage.disk import on_disk
from miha.utils.optional import need

if TYPE_CHECKING:
    from miha.results.result import Result

NAME = "tensorboard"
_EVENTS = "events.out.tfevents"


class TensorBoard(Callback):
    """Writes a run for TensorBoard while it goes on, after each cycle and at the end.

    Args:
        path: The folder; by default ``tensorboard`` in the run's folder.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        need("tensorboard.compat.proto.event_pb2", "tensorboard")
        self._path = path
        self._run_dir: str | None = None

    def on_run_begin(self, schedule: Any, run_dir: str) -> None:
        """Remember where the run is."""
        self._run_dir = run_dir

    def on_cycle_end(
        self, cycle: int, clones: Sequence[TrainingRecord], winner: TrainingRecord | None
    ) -> None:
        """Write what is new."""
        if self._run_dir is not None:
            to_tensorboard(load_run(self._run_dir), self._path)

    def on_run_end(self, result: Result) -> None:
        """Write the rest."""
        to_tensorboard(result, self._path)


def to_tensorboard(result: Result, path: str | Path | None = None) -> Path:
    """Write a run for TensorBoard; called again, as the run grows, it adds the cycles that are new.

    The steps of clones go on from those of the main line, so that curves lie over each other.

    Args:
        result: A run, finished or not.
        path: The folder; by default ``tensorboard`` in the run's folder.

    Returns:
        The folder, for ``tensorboard --logdir``.

    Raises:
        StorageError: It cannot be written.
        MissingPackageError: TensorBoard is not installed.
    """
    folder = Path(path) if path is not None else result.run_dir / NAME
    view, start = RunView.of(result), start_time(result)
    for number, trial in enumerate(view.trials):
        if trial.is_clone and trial.is_settled:
            place = folder / f"cycle_{trial.cycle:03d}" / f"clone_{trial.clone}"
            _write(place / "000000", lambda trial=trial: _clone(trial), start + trial.after)
        if trial.is_on_main_line:
            place = folder / "main_line" / f"{number:06d}"
            _write(place, lambda trial=trial: _scalars(trial, _genes(trial)), start + trial.after)
    return folder


def _write(place: Path, events: Any, time: float) -> None:
    """Write a file of events, unless it is there: TensorBoard reads those of a folder in order."""
    file = place.with_name(f"{_EVENTS}.{place.name}.miha")
    if file.exists():
        return
    data = _encoded(events(), time)
    with on_disk(file, len(data)):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name("writing.part")  # No name that TensorBoard would read.
        part.write_bytes(data)
        os.replace(part, file)


def _encoded(events: Iterable[Mapping[str, Any]], time: float) -> bytes:
    records = need("tensorboard.summary.writer.record_writer", "tensorboard")
    event = need("tensorboard.compat.proto.event_pb2", "tensorboard").Event
    buffer = io.BytesIO()
    writer = records.RecordWriter(buffer)
    writer.write(event(wall_time=time, file_version="brain.Event:2").SerializeToString())
    for fields in events:
        after = fields.get("after", 0.0)
        kept = {name: value for name, value in fields.items() if name != "after"}
        writer.write(event(wall_time=time + after, **kept).SerializeToString())
    return buffer.getvalue()


def _scalars(trial: TrainingView, more: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield an event for each epoch of a training.

    Args:
        trial: The training.
        more: Values to add to each.
    """
    summaries = need("tensorboard.compat.proto.summary_pb2", "tensorboard")
    after = 0.0
    for epoch, log in enumerate(trial.logs, start=trial.start + 1):
        after += log.get("seconds", 0.0)
        logged = {name: value for name, value in log.items() if is_number(value)} | dict(more)
        values = [summaries.Summary.Value(tag=n, simple_value=v) for n, v in logged.items()]
        yield {"step": epoch, "after": after, "summary": summaries.Summary(value=values)}


def _genes(trial: TrainingView) -> dict[str, float]:
    return {f"genome/{name}": value for name, value in trial.genes.items() if is_number(value)}


def _clone(trial: TrainingView) -> Iterator[dict[str, Any]]:
    """Yield the events of a clone: its hyperparameters, its epochs, and how it ended."""
    data, api = _hparams()
    start = data.SessionStartInfo(group_name=trial.name)
    for name, value in trial.genes.items():
        _set(start.hparams[name], value)
    yield {"summary": _plugin("_hparams_/session_start_info", session_start_info=start)}
    yield from _scalars(trial, {})
    ends = {"fitness": trial.fitness, "gain": trial.gain, "selected": float(trial.selected)}
    summaries = need("tensorboard.compat.proto.summary_pb2", "tensorboard")
    known = {n: v for n, v in ends.items() if v is not None and math.isfinite(v)}
    values = [summaries.Summary.Value(tag=n, simple_value=v) for n, v in known.items()]
    yield {"step": trial.end, "after": trial.seconds, "summary": summaries.Summary(value=values)}
    status = api.STATUS_FAILURE if trial.failure else api.STATUS_SUCCESS
    end = data.SessionEndInfo(status=status)
    yield {"summary": _plugin("_hparams_/session_end_info", session_end_info=end)}


def _set(field: Any, value: Any) -> None:
    if isinstance(value, bool) or value is None or not is_number(value):
        field.string_value = "–" if value is None else str(value)
    else:
        field.number_value = value


def _hparams() -> tuple[Any, Any]:
    plugin = "tensorboard.plugins.hparams"
    return (
        need(f"{plugin}.plugin_data_pb2", "tensorboard"),
        need(f"{plugin}.api_pb2", "tensorboard"),
    )


def _plugin(tag: str, **content: Any) -> Any:
    """Return a summary that TensorBoard's plugin for hyperparameters reads."""
    data, _ = _hparams()
    metadata = need("tensorboard.plugins.hparams.metadata", "tensorboard")
    summaries = need("tensorboard.compat.proto.summary_pb2", "tensorboard")
    told = metadata.create_summary_metadata(data.HParamsPluginData(**content))
    value = summaries.Summary.Value(tag=tag, metadata=told, tensor=metadata.NULL_TENSOR)
    return summaries.Summary(value=[value])
