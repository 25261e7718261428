"""Clones on Ray: on the cores of this machine, or on those of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from miha.errors import ArgumentError, first_line
from miha.executors.actors import Actors
from miha.executors.protocol import Job, WorkerPool
from miha.executors.worker import environment
from miha.utils.optional import need
from miha.validation import check_integer, check_positive

EXTRA = "ray"


@dataclass(frozen=True)
class RayExecutor:
    """Trains the clones of a cycle on Ray, each on one worker.

    Without an address, and with no Ray running in this process, Ray is started on this machine
    and ended with the run. A worker is an actor: it builds the network once and lives as long as
    the run.

    Attributes:
        address: ``"host:port"`` of a cluster's head, or ``"auto"`` for the one that this machine
            belongs to; by default what ``RAY_ADDRESS`` names, else this machine.
        workers: How many clones train at once; by default as many as there is place for.
        cpus_per_clone: Cores that Ray reserves for a worker; rounded down, but at least 1, also
            its threads. Where both count their threads alike, a run's numbers are those of a
            local one.
        gpus_per_clone: GPUs that Ray reserves for a worker; a fraction shares one.
        load_data: Called by every worker instead of sending it the data: returns what `MIHA` was
            given, ``{"x": ..., "y": ..., "validation_data": ..., "sample_weight": ...}``.
        timeout: Seconds that a clone may take before its worker counts as hung; None: any.
        start_timeout: Seconds to wait for a first worker.
        autoscaling: Whether the cluster may grow: workers are then asked for that there is no
            place for yet, ``workers`` of them, or one for each clone.
        runtime_env: What Ray prepares for the workers, such as ``{"working_dir": "."}``.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_clone: float = 1
    gpus_per_clone: float = 0
    load_data: Callable[[], Mapping[str, Any]] | None = None
    timeout: float | None = None
    start_timeout: float = 300
    autoscaling: bool = False
    runtime_env: Mapping[str, Any] | None = None

    def check(self) -> None:
        """See `Executor`."""
        if self.workers is not None:
            check_integer("workers", self.workers, 1)
        check_positive("cpus_per_clone", self.cpus_per_clone)
        check_positive("gpus_per_clone", self.gpus_per_clone, zero=True)
        check_positive("start_timeout", self.start_timeout)
        if self.timeout is not None:
            check_positive("timeout", self.timeout)
        if self.load_data is not None and not callable(self.load_data):
            raise ArgumentError(
                "`load_data` must be a function without arguments. "
                f"Received: load_data={self.load_data!r}. Give one that returns the data."
            )
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing leaves the machine.
        need("ray", EXTRA)
        check_address(self._address)

    def start(self, job: Job) -> WorkerPool:
        """See `Executor`."""
        ray = need("ray", EXTRA)
        is_own = not ray.is_initialized()
        if is_own:
            self._connect(ray)
        else:
            self._check_in_use(ray.get_runtime_context().gcs_address)
        try:
            number = min(self._places(ray.nodes(), job.pop_size), job.pop_size)
            actors = Actors(ray, self._sent(ray, job), job, number, self._options(job), is_own)
            actors.start(self.start_timeout, self.timeout)
        except BaseException:
            if is_own:
                ray.shutdown()
            raise
        return actors

    @property
    def _address(self) -> str | None:
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def _connect(self, ray: Any) -> None:
        check_address(self._address)
        own = {"include_dashboard": False} if self._address in (None, "local") else {}
        try:
            with _same_sigterm():
                ray.init(self._address, log_to_driver=False, logging_level="error", **own)
        except ConnectionError as error:
            raise unreachable(self._address, first_line(error)) from error

    def _check_in_use(self, used: str) -> None:
        if self.address not in (None, "auto", "local", used):
            raise ArgumentError(
                f"`address` must be that of the Ray that this process uses already, {used!r}. "
                f"Received: address={self.address!r}. Leave it out, or call ray.shutdown() first."
            )

    def _places(self, nodes: list[Mapping[str, Any]], most: int) -> int:
        """Return how many workers there shall be.

        Raises:
            ArgumentError: No machine has place for one.
        """
        if self.autoscaling:
            return most if self.workers is None else self.workers
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        wanted = {"CPU": self.cpus_per_clone, "GPU": self.gpus_per_clone}
        for name, number in wanted.items():
            largest = max((node.get(name, 0) for node in alive), default=0)
            if number > largest:
                argument = f"{name.lower()}s_per_clone"
                raise ArgumentError(
                    f"`{argument}` must not exceed what one machine of the cluster has: "
                    f"{largest:g}. Received: {argument}={number:g}. Ask for less, add a larger "
                    "machine, or set autoscaling=True if one will come."
                )
        places = sum(_places_on(node, wanted) for node in alive)
        if places == 0:
            raise ArgumentError(
                "A machine of the cluster must have place for a clone. Received: "
                f"cpus_per_clone={self.cpus_per_clone:g} and gpus_per_clone="
                f"{self.gpus_per_clone:g}, which none has together. Ask for less."
            )
        return places if self.workers is None else min(self.workers, places)

    def _options(self, job: Job) -> dict[str, Any]:
        """Return what Ray is told of each actor."""
        own = dict(self.runtime_env or {})
        variables = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # They find what this one finds.
            **job.environment,
            **environment(self.cpus_per_clone, self.gpus_per_clone),
            **own.pop("env_vars", {}),
        }
        return {
            "num_cpus": self.cpus_per_clone,
            "num_gpus": self.gpus_per_clone,
            "max_restarts": 0,
            "runtime_env": {**own, "env_vars": variables},
        }

    def _sent(self, ray: Any, job: Job) -> Any:
        """Put a job where every machine fetches it once."""
        try:
            return ray.put(job)
        except Exception as error:
            raise ArgumentError(
                "The network and its data must be such that they can be sent to another process. "
                f"Received: {type(error).__name__}: {first_line(error)} Where it is the data (a "
                "tf.data.Dataset, say), give RayExecutor(load_data=...), a function that makes it "
                "in each worker; where it is a class or a function of yours, put it into a module."
            ) from error


@contextlib.contextmanager
def _same_sigterm() -> Iterator[None]:
    """Leave SIGTERM to whom it was left before: Ray takes it for itself."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def check_address(address: str | None) -> None:
    """Raise unless somebody answers where a cluster is said to be.

    Raises:
        ArgumentError: Nobody does, or it is no address.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if str(address).startswith("ray://") or not host or not port.isdigit():
        raise ArgumentError(
            "`address` must be 'host:port' of a cluster's head, 'auto', or 'local'. "
            f"Received: address={address!r}. Start the script on a machine of the cluster, by "
            "`ray job submit`, say."
        )
    # Asked first: Ray ends the whole process where nobody answers.
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise unreachable(address, first_line(error)) from error


def unreachable(address: str | None, why: str) -> ArgumentError:
    """Return the error of a cluster that does not answer."""
    return ArgumentError(
        "`address` (or the environment's RAY_ADDRESS) must name a Ray cluster that can be reached. "
        f"Received: {address!r}: {why} Start it there with `ray start --head`, or leave the "
        "address out to use this machine alone."
    )


def _places_on(node: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Return how many workers one machine has place for."""
    shares = [node.get(name, 0) / number for name, number in wanted.items() if number]
    return int(min(shares) + 1e-9)
