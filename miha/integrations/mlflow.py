"""A run in MLflow: one run of MLflow's, and one nested in it for each clone.

``pip install 'miha[mlflow]'`` installs what it needs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from miha.callbacks import Callback
from miha.errors import MihaError
from miha.records import TrainingRecord
from miha.results.reader import load_run, start_time
from miha.results.trials import RunView, TrainingView, flat, is_number
from miha.storage.folder import RunFolder
from miha.utils.optional import need

if TYPE_CHECKING:
    from miha.results.result import Result

BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""How many of each MLflow takes at once."""

LONGEST = 500
"""Characters of a parameter's value."""

_RUN = "miha.run"
_TRIAL = "miha.trial."

Metric = tuple[str, float, int, float]
"""Name, value, step, and when: seconds since 1970."""

Values = Mapping[str, Any]
Tags = Mapping[str, str]


class MLflow(Callback):
    """Logs a run to MLflow while it goes on: after each cycle, and at the end with its archive.

    A run that goes on after an interruption goes on in MLflow too.

    Args:
        tracking_uri: Where to, e.g. ``"sqlite:///mlflow.db"``; None: as MLflow is set up, which
            is the file ``mlflow.db`` of the folder at hand unless you have said otherwise.
        experiment: Name of the experiment; it is made where it is not there.
        artifacts: Whether to log the last and the best network's archives at the end.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "miha",
        artifacts: bool = True,
    ) -> None:
        need("mlflow", "mlflow")
        self._uri = tracking_uri
        self._experiment = experiment
        self._artifacts = artifacts
        self._run_dir = ""

    def on_run_begin(
        self,
        schedule: Any,
        run_dir: str,
    ) -> None:
        """Remember where the run is; raise before it trains where MLflow cannot be reached."""
        self._run_dir = run_dir
        _Log(self._uri, self._experiment)

    def on_cycle_end(
        self,
        cycle: int,
        clones: Sequence[TrainingRecord],
        winner: TrainingRecord | None,
    ) -> None:
        """Log what is new."""
        result = load_run(self._run_dir)
        to_mlflow(result, self._uri, self._experiment, artifacts=False)

    def on_run_end(self, result: Result) -> None:
        """Log the rest, and the archives."""
        to_mlflow(result, self._uri, self._experiment, self._artifacts)


def to_mlflow(
    result: Result,
    tracking_uri: str | None = None,
    experiment: str = "miha",
    artifacts: bool = True,
) -> str:
    """Log a run to MLflow; called again, as the run grows, it adds the cycles that are new.

    Args:
        result: A run, finished or not.
        tracking_uri: Where to, e.g. ``"sqlite:///mlflow.db"``; None: as MLflow is set up.
        experiment: Name of the experiment; it is made where it is not there.
        artifacts: Whether to log the last and the best network's archives of a finished run.

    Returns:
        The id of MLflow's run.

    Raises:
        MihaError: The run has no training yet, or MLflow does not take `tracking_uri`.
        MissingPackageError: MLflow is not installed.
    """
    view = RunView.of(result)
    if not view.trials:
        raise MihaError(
            "A run must have finished its first training to be logged. "
            f"Received: {str(result.run_dir)!r}, which has not. Wait for it."
        )

    log = _Log(tracking_uri, experiment)
    start = start_time(result)
    parent = log.find(result) or log.make(result, start)
    known = log.known_trials(parent)
    for number, trial in enumerate(view.trials):
        # What is said of a clone may change until its cycle has selected.
        if not trial.is_settled:
            continue
        begin = start + trial.after
        # An earlier end of the run has been logged, too, under its own number.
        place = result.log.place(number)
        main_tag = f"{_TRIAL}main-{place}"
        clone_tag = f"{_TRIAL}clone-{place}"
        if trial.is_on_main_line and trial.logs and main_tag not in known:
            metrics = _metrics(trial, begin)
            log.write(parent, metrics=metrics, tags={main_tag: "1"})
        if trial.is_clone and clone_tag not in known:
            child = log.make_nested(parent, trial, begin)
            _log_clone(log, child, trial, view, begin)
            log.write(parent, tags={clone_tag: child})

    if result.state == "finished":
        last = view.trials[-1]
        if artifacts:
            log.write_archives(parent, result)
        log.end(parent, start + last.after + last.seconds)
    return parent


def _log_clone(
    log: _Log,
    run: str,
    clone: TrainingView,
    view: RunView,
    begin: float,
) -> None:
    """Log a clone in its own run."""
    end = begin + clone.seconds
    metrics = _metrics(clone, begin)
    for name, value in view.final_values(clone).items():
        if value is not None and math.isfinite(value):
            metrics.append((name, value, clone.end, end))

    log.write(run, metrics=metrics, params=clone.genes)
    log.end(run, end, clone.failure)


def _metrics(
    trial: TrainingView,
    begin: float,
) -> list[Metric]:
    """Return what was logged after each epoch of a training that began at some time."""
    found: list[Metric] = []
    epoch = trial.start
    time = begin
    for log in trial.logs:
        epoch += 1
        time += log["seconds"]
        for name, value in log.items():
            # A logged value may be a vector, which MLflow does not take.
            if is_number(value) and math.isfinite(value):
                metric = (name, float(value), epoch, time)
                found.append(metric)
    return found


class _Log:
    """One experiment of MLflow.

    Args:
        tracking_uri: Where it is kept.
        experiment: Its name.
    """

    def __init__(
        self,
        tracking_uri: str | None,
        experiment: str,
    ) -> None:
        self._entities = need("mlflow.entities", "mlflow")
        package = need("mlflow", "mlflow")
        try:
            self._client = package.MlflowClient(tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
        except package.exceptions.MlflowException as error:
            raise MihaError(
                "`tracking_uri` must be an address that MLflow takes, which a folder is no longer. "
                f"Received: {tracking_uri!r}: {str(error)[:LONGEST]} Use a file such as "
                "'sqlite:///mlflow.db', or the address of a server of MLflow's."
            ) from error
        if found is None:
            self._experiment = self._client.create_experiment(experiment)
        else:
            self._experiment = found.experiment_id

    def find(self, result: Result) -> str | None:
        """Return the id of the run's run; None where there is none."""
        quoted = _key(result).replace("'", "\\'")
        found = self._client.search_runs([self._experiment], f"tags.`{_RUN}` = '{quoted}'")
        if not found:
            return None
        return str(found[0].info.run_id)

    def make(
        self,
        result: Result,
        start: float,
    ) -> str:
        """Return the id of a new run, with the arguments and the first hyperparameters."""
        folder = result.run_dir.absolute()
        tags = {
            _RUN: _key(result),
            "mlflow.runName": folder.name,
            "miha.folder": str(folder),
        }
        run = self._create(tags, start)

        description = RunFolder(result.run_dir).description()
        params = flat(description["arguments"])
        params["seed"] = description.get("seed")
        genes = flat(description.get("genome", {}))
        for name, value in genes.items():
            params[f"start.{name}"] = value
        self.write(run, params=params)
        return run

    def make_nested(
        self,
        parent: str,
        clone: TrainingView,
        start: float,
    ) -> str:
        """Return the id of a new nested run for a clone."""
        tags = {
            "mlflow.parentRunId": parent,
            "mlflow.runName": clone.name,
            "miha.gene": clone.gene,
            "miha.change": clone.change,
            "miha.selected": str(clone.selected).lower(),
        }
        return self._create(tags, start)

    def known_trials(self, run: str) -> set[str]:
        """Return the tags of the trainings that are logged already."""
        tags = self._client.get_run(run).data.tags
        return {name for name in tags if name.startswith(_TRIAL)}

    def write(
        self,
        run: str,
        metrics: Sequence[Metric] = (),
        params: Values = MappingProxyType({}),
        tags: Tags = MappingProxyType({}),
    ) -> None:
        """Write values into a run, as many at once as MLflow takes."""
        kinds = self._entities
        for items in _batches(metrics, BATCH["metrics"]):
            batch = []
            for name, value, step, time in items:
                metric = kinds.Metric(_name(name), value, _milliseconds(time), step)
                batch.append(metric)
            self._client.log_batch(run, metrics=batch)

        for items in _batches([*params.items()], BATCH["params"]):
            texts = [(_name(name), str(value)[:LONGEST]) for name, value in items]
            self._client.log_batch(run, params=[kinds.Param(*text) for text in texts])

        # Last, since a tag says that all of a training is there.
        for items in _batches([*tags.items()], BATCH["tags"]):
            self._client.log_batch(run, tags=[kinds.RunTag(*tag) for tag in items])

    def write_archives(
        self,
        run: str,
        result: Result,
    ) -> None:
        """Log the last and the best network's archives, where they are there."""
        for archive in sorted(set(result.archives)):
            path = result.run_dir / archive
            if path.exists():
                self._client.log_artifact(run, str(path), "networks")

    def end(
        self,
        run: str,
        time: float,
        failure: str | None = None,
    ) -> None:
        """Say that a run has ended."""
        status = "FINISHED" if failure is None else "FAILED"
        self._client.set_terminated(run, status, _milliseconds(time))

    def _create(
        self,
        tags: Tags,
        start: float,
    ) -> str:
        time = _milliseconds(start)
        run = self._client.create_run(self._experiment, time, tags)
        return str(run.info.run_id)


def _key(result: Result) -> str:
    """Return what tells a run from one that has replaced it: that one began at another time."""
    started = RunFolder(result.run_dir).description().get("started")
    return f"{result.run_dir.absolute()} {started}"


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds)


def _name(name: str) -> str:
    """Return a name as MLflow takes it."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _batches(
    items: Sequence[Any],
    size: int,
) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
