"""Clones on Ray: on the cores of this machine, or on those of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miha.errors import ArgumentError, first_line
from miha.executors.actors import RayWorkers
from miha.executors.protocol import Job, WorkerPool
from miha.executors.worker import environment, importable
from miha.utils.optional import need
from miha.validation import check_integer, check_positive

EXTRA = "ray"

Resources = Mapping[str, float]
"""How many cores and GPUs a machine has, or a clone wants, by Ray's names."""


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
        # Nothing leaves the machine.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        need("ray", EXTRA)
        check_address(self._address)

    def start(self, job: Job) -> WorkerPool:
        """See `Executor`."""
        ray = need("ray", EXTRA)
        is_started_here = not ray.is_initialized()
        if is_started_here:
            self._connect(ray)
        else:
            self._check_in_use(ray.get_runtime_context().gcs_address)
        try:
            # More workers than clones would have nothing to do.
            places = self._count(ray.nodes(), job.pop_size)
            number = min(places, job.pop_size)
            sent = _send(ray, job)
            workers = RayWorkers(ray, job, sent, self._options(job), is_started_here)
            workers.start(number, self.start_timeout, self.timeout)
        except BaseException:
            if is_started_here:
                ray.shutdown()
            raise
        return workers

    @property
    def _address(self) -> str | None:
        return self.address or os.environ.get("RAY_ADDRESS") or None

    def _connect(self, ray: Any) -> None:
        """Start Ray on this machine, or connect this process to a cluster."""
        check_address(self._address)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if self._address in (None, "local"):
            options["include_dashboard"] = False
        try:
            with _same_sigterm():
                ray.init(self._address, **options)
        except ConnectionError as error:
            raise unreachable(self._address, first_line(error)) from error

    def _check_in_use(self, used: str) -> None:
        if self.address not in (None, "auto", "local", used):
            raise ArgumentError(
                f"`address` must be that of the Ray that this process uses already, {used!r}. "
                f"Received: address={self.address!r}. Leave it out, or call ray.shutdown() first."
            )

    def _count(self, nodes: Sequence[Mapping[str, Any]], most: int) -> int:
        """Return how many workers the machines have place for, or as many as the user wants.

        Raises:
            ArgumentError: No machine has place for one.
        """
        if self.autoscaling:
            return most if self.workers is None else self.workers
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        wanted = {"CPU": self.cpus_per_clone, "GPU": self.gpus_per_clone}
        for name, amount in wanted.items():
            _check_amount(name, amount, machines)

        places = sum(_places_on(machine, wanted) for machine in machines)
        if places == 0:
            raise ArgumentError(
                "A machine of the cluster must have place for a clone. Received: "
                f"cpus_per_clone={self.cpus_per_clone:g} and gpus_per_clone="
                f"{self.gpus_per_clone:g}, which none has together. Ask for less."
            )
        return places if self.workers is None else min(self.workers, places)

    def _options(self, job: Job) -> dict[str, Any]:
        """Return the options of each actor."""
        runtime_env = dict(self.runtime_env or {})
        variables = {"PYTHONPATH": importable()}
        variables.update(job.environment)
        variables.update(environment(self.cpus_per_clone, self.gpus_per_clone))
        variables.update(runtime_env.get("env_vars", {}))
        runtime_env["env_vars"] = variables
        return {
            "num_cpus": self.cpus_per_clone,
            "num_gpus": self.gpus_per_clone,
            "max_restarts": 0,
            "runtime_env": runtime_env,
        }


def _send(ray: Any, job: Job) -> Any:
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
    """Keep the handler of SIGTERM: Ray takes the signal for itself."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def check_address(address: str | None) -> None:
    """Raise unless somebody answers at the address of a cluster.

    Raises:
        ArgumentError: Nobody does, or it is no address.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    is_client = str(address).startswith("ray://")
    if is_client or not host or not port.isdigit():
        raise ArgumentError(
            "`address` must be 'host:port' of a cluster's head, 'auto', or 'local'. "
            f"Received: address={address!r}. Start the script on a machine of the cluster, by "
            "`ray job submit`, say."
        )
    # Ray ends the whole process where nobody answers, so this process asks first.
    try:
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.close()
    except OSError as error:
        raise unreachable(address, first_line(error)) from error


def unreachable(address: str | None, why: str) -> ArgumentError:
    """Return the error of a cluster that does not answer."""
    return ArgumentError(
        "`address` (or the environment's RAY_ADDRESS) must name a Ray cluster that can be reached. "
        f"Received: {address!r}: {why} Start it there with `ray start --head`, or leave the "
        "address out to use this machine alone."
    )


def _check_amount(name: str, amount: float, machines: Sequence[Resources]) -> None:
    """Raise unless one machine has as many cores or GPUs as a clone wants."""
    amounts = [machine.get(name, 0) for machine in machines]
    largest = max(amounts, default=0)
    if amount > largest:
        argument = f"{name.lower()}s_per_clone"
        raise ArgumentError(
            f"`{argument}` must not exceed what one machine of the cluster has: "
            f"{largest:g}. Received: {argument}={amount:g}. Ask for less, add a larger "
            "machine, or set autoscaling=True if one will come."
        )


def _places_on(machine: Resources, wanted: Resources) -> int:
    """Return how many workers one machine has place for."""
    places = []
    for name, amount in wanted.items():
        if amount > 0:
            places.append(machine.get(name, 0) / amount)
    # A tenth of a core fits ten times: division may give a little less.
    return int(min(places) + 1e-9)
