"""A run for TensorBoard: ``tensorboard --logdir logs/<run>/tensorboard``.

The main line is a run of TensorBoard, and so is every clone, with its hyperparameters. Which of
these there are TensorBoard finds out by itself: with a new optimizer others may come.
``pip install 'miha[tensorboard]'`` installs what it needs; TensorFlow is not.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.callbacks import Callback
from miha.records import TrainingRecord
from miha.results.reader import load_run, start_time
from miha.results.trials import RunView, TrainingView, is_number
from miha.storage.disk import on_disk
from miha.utils.optional import need

if TYPE_CHECKING:
    from miha.results.result import Result

NAME = "tensorboard"

_FILE = "events.out.tfevents.{:06d}.miha"
"""TensorBoard reads the files of a folder in the order of their names."""

Values = Mapping[str, Any]
Events = Iterator[dict[str, Any]]
"""The fields of TensorBoard's events; ``after``: seconds since the file's first one."""


class TensorBoard(Callback):
    """Writes a run for TensorBoard while it goes on, after each cycle and at the end.

    Args:
        path: The folder; by default ``tensorboard`` in the run's folder.
    """

    def __init__(
        self,
        path: str | Path | None = None,
    ) -> None:
        _event_type()
        self._path = path
        self._run_dir: str | None = None

    def on_run_begin(
        self,
        schedule: Any,
        run_dir: str,
    ) -> None:
        """Remember where the run is."""
        self._run_dir = run_dir

    def on_cycle_end(
        self,
        cycle: int,
        clones: Sequence[TrainingRecord],
        winner: TrainingRecord | None,
    ) -> None:
        """Write what is new."""
        if self._run_dir is not None:
            to_tensorboard(load_run(self._run_dir), self._path)

    def on_run_end(self, result: Result) -> None:
        """Write the rest."""
        to_tensorboard(result, self._path)


def to_tensorboard(
    result: Result,
    path: str | Path | None = None,
) -> Path:
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
    folder = result.run_dir / NAME
    if path is not None:
        folder = Path(path)
    view = RunView.of(result)
    start = start_time(result)
    shown: set[Path] = set()
    for number, trial in enumerate(view.trials):
        if not trial.is_settled:
            continue
        time = start + trial.after
        if trial.is_clone:
            place = folder / f"cycle_{trial.cycle:03d}" / f"clone_{trial.clone}"
            events = _clone_events(trial, view)
            _write(place / _FILE.format(0), events, time)
        if trial.is_on_main_line:
            file = folder / "main_line" / _FILE.format(result.log.place(number))
            shown.add(file)
            _write(file, _main_line_events(trial), time)
    if result.log.set_aside:
        # An earlier end is not on the main line any more.
        for file in {*folder.glob("main_line/*.miha")} - shown:
            file.unlink(missing_ok=True)
    return folder


def _write(
    file: Path,
    events: Events,
    time: float,
) -> None:
    """Write a file of events that begins at some time, unless it is there."""
    if file.exists():
        return
    data = _encoded(events, time)
    with on_disk(file, len(data)):
        file.parent.mkdir(parents=True, exist_ok=True)
        # No name that TensorBoard would read.
        part = file.with_name("writing.part")
        part.write_bytes(data)
        os.replace(part, file)


def _encoded(events: Events, time: float) -> bytes:
    records = need("tensorboard.summary.writer.record_writer", NAME)
    make_event = _event_type()
    buffer = io.BytesIO()
    writer = records.RecordWriter(buffer)
    first = make_event(wall_time=time, file_version="brain.Event:2")
    writer.write(first.SerializeToString())
    for fields in events:
        after = fields.pop("after", 0.0)
        event = make_event(wall_time=time + after, **fields)
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _main_line_events(trial: TrainingView) -> Events:
    """Yield an event for each epoch, with the hyperparameters that are numbers."""
    genes = trial.genes.items()
    yield from _epoch_events(trial, {f"genome/{name}": value for name, value in genes})


def _clone_events(clone: TrainingView, view: RunView) -> Events:
    """Yield the events of a clone: its hyperparameters, its epochs, and how it ended."""
    data = need("tensorboard.plugins.hparams.plugin_data_pb2", NAME)
    start = data.SessionStartInfo(group_name=clone.name)
    for name, value in clone.genes.items():
        if is_number(value):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = "–" if value is None else str(value)
    yield {"summary": _plugin_summary("_hparams_/session_start_info", session_start_info=start)}

    yield from _epoch_events(clone, {})
    ends = {**view.final_values(clone), "selected": float(clone.selected)}
    summary = _summary(ends, finite=True)
    yield {"step": clone.end, "after": clone.seconds, "summary": summary}

    api = need("tensorboard.plugins.hparams.api_pb2", NAME)
    status = api.STATUS_FAILURE if clone.failure else api.STATUS_SUCCESS
    end = data.SessionEndInfo(status=status)
    yield {"summary": _plugin_summary("_hparams_/session_end_info", session_end_info=end)}


def _epoch_events(trial: TrainingView, more: Values) -> Events:
    """Yield an event for each epoch of a training, with more values in each."""
    epoch = trial.start
    after = 0.0
    for log in trial.logs:
        epoch += 1
        after += log["seconds"]
        summary = _summary({**log, **more})
        yield {"step": epoch, "after": after, "summary": summary}


def _summary(
    values: Values,
    finite: bool = False,
) -> Any:
    """Return a summary of those values that are numbers, or finite numbers."""
    summaries = need("tensorboard.compat.proto.summary_pb2", NAME)
    scalars = []
    for name, value in values.items():
        if is_number(value) and (math.isfinite(value) or not finite):
            scalar = summaries.Summary.Value(tag=name, simple_value=value)
            scalars.append(scalar)
    return summaries.Summary(value=scalars)


def _plugin_summary(tag: str, **content: Any) -> Any:
    """Return a summary that TensorBoard's plugin for hyperparameters reads."""
    data = need("tensorboard.plugins.hparams.plugin_data_pb2", NAME)
    metadata = need("tensorboard.plugins.hparams.metadata", NAME)
    summaries = need("tensorboard.compat.proto.summary_pb2", NAME)
    described = metadata.create_summary_metadata(data.HParamsPluginData(**content))
    value = summaries.Summary.Value(
        tag=tag,
        metadata=described,
        tensor=metadata.NULL_TENSOR,
    )
    return summaries.Summary(value=[value])


def _event_type() -> Any:
    """Return the class of TensorBoard's events."""
    return need("tensorboard.compat.proto.event_pb2", NAME).Event
