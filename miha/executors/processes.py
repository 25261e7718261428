"""Clones side by side on this machine: each in a process that has built the network once."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe, current_process, spawn
from multiprocessing.connection import Connection, wait
from typing import Any

from miha.errors import ArgumentError, MihaError, first_line
from miha.executors.memory import Memory, put, receive, send
from miha.executors.protocol import CloneResult, Failure, Job, WorkerLost
from miha.executors.training import failure_of
from miha.executors.worker import Worker, check_ready, importable
from miha.records import Genome, Snapshot, Task
from miha.storage.text_log import say
from miha.utils.spawned import refuse_unguarded
from miha.utils.warn import warn
from miha.validation import check_integer

MOST_FAILED_STARTS = 3
"""Processes in a row that may die before they are ready."""

LONGEST_WAIT = 5.0
"""Seconds until it is looked whether a process lives that says nothing."""

LAST_BYTES = 2000
"""Of what a process has written, those among which its last line is."""

_CALL = f"import sys; from {__name__} import serve; serve(*map(int, sys.argv[1:]))"


@dataclass(frozen=True)
class ProcessExecutor:
    """Trains the clones of a cycle in processes of this machine, one in each at a time.

    Attributes:
        workers: How many clones train at once.
    """

    workers: int

    @property
    def load_data(self) -> Callable[[], Mapping[str, Any]] | None:
        """See `Executor`: processes share the data's memory."""
        return None

    def check(self) -> None:
        """See `Executor`."""
        check_integer("workers", self.workers, 1)
        refuse_unguarded()
        if os.name == "nt":
            raise ArgumentError(
                "`workers` needs a system whose processes can hand files to each other. Received: "
                f"workers={self.workers} on Windows. Use WSL, or leave it out."
            )
        if self.workers > cores():
            warn(
                f"workers={self.workers} is more than the {cores()} cores that this process may "
                "use: clones will wait for each other."
            )

    def start(self, job: Job) -> Processes:
        """Start the processes, which become ready while the network itself trains.

        Raises:
            ArgumentError: The network or its data cannot be sent.
        """
        # More processes than clones would have nothing to do.
        number = min(self.workers, job.pop_size)
        processes = Processes(job, *_sent(job))
        try:
            processes.start(number)
        except BaseException:
            processes.close()
            raise
        return processes


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Processes:
    """A `WorkerPool` of processes; one that dies is replaced.

    Args:
        job: What they are for.
        script: What is needed to import the user's script; empty where nothing of it is.
        sent: The job in shared memory.
    """

    def __init__(self, job: Job, script: Mapping[str, Any], sent: Memory) -> None:
        self._job = job
        self._script = script
        self._sent = sent
        self._starting: list[Process] = []
        self._free: list[Process] = []
        self._busy: dict[Process, int] = {}
        self._failed_starts = 0

    def start(self, number: int) -> None:
        """Start so many processes."""
        for _ in range(number):
            process = Process(self._job.environment)
            self._starting.append(process)
            process.give(self._script, self._sent)

    @property
    def free(self) -> int:
        """See `WorkerPool`."""
        return len(self._free)

    def share(self, parent: Genome, values: Snapshot) -> Memory:
        """See `WorkerPool`."""
        for process in list(self._free):
            # No clone is to blame for a process that has died since the last one.
            if not process.is_alive:
                self._free.remove(process)
                self._replace(process, "while it had nothing to do")
        return put((parent, values))

    def submit(self, number: int, task: Task, shared: Memory) -> None:
        """See `WorkerPool`."""
        process = self._free.pop()
        self._busy[process] = number
        process.give(task, shared)

    def results(self) -> Sequence[tuple[int, CloneResult | WorkerLost]]:
        """See `WorkerPool`."""
        ended: list[tuple[int, CloneResult | WorkerLost]] = []
        waited_for = [*self._busy, *self._starting]
        ready = wait([process.connection for process in waited_for], LONGEST_WAIT)
        for process in waited_for:
            is_ready = process.connection in ready
            # What a process has started itself may keep its connection open after its death.
            if not is_ready and process.is_alive:
                continue
            answer = process.answer() if is_ready else None
            if process in self._starting:
                self._accept(process, answer)
            else:
                ended.append((self._busy.pop(process), self._ended(process, answer)))
        return ended

    def close(self) -> None:
        """See `WorkerPool`."""
        for process in (*self._busy, *self._free, *self._starting):
            process.end()

    def _accept(self, process: Process, answer: Any) -> None:
        """Add a process to the free ones, if it has built the same network.

        Raises:
            ArgumentError: It has built another one, or none; or too many have died before.
        """
        self._starting.remove(process)
        if answer is None:
            self._failed_starts += 1
            reason = self._replace(process, "before it was ready")
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise ArgumentError(
                    f"A worker must live until it is ready. Received: {MOST_FAILED_STARTS} in a "
                    f"row that did not: {reason} Is there enough memory for each? Take fewer."
                )
            return
        self._free.append(process)
        if isinstance(answer, Failure):
            raise ArgumentError(
                "A worker must be able to build the network. Received, from the first one that "
                f"tried: {answer.text} Put classes and functions of yours into a module, or "
                "leave `workers` out."
            ) from MihaError(answer.traceback)
        check_ready(self._job, *answer)
        # Only starts that fail in a row mean that none can succeed.
        self._failed_starts = 0

    def _ended(self, process: Process, answer: Any) -> CloneResult | WorkerLost:
        if answer is None:
            return WorkerLost(self._replace(process, "while it trained"))
        self._free.append(process)
        result: CloneResult = answer
        return result

    def _replace(self, process: Process, when: str) -> str:
        """Start another process for one that has died; return in a sentence how it did."""
        reason = process.end()
        say(f"A worker was gone {when}: {reason}")
        self.start(1)
        return reason


class Process:
    """One process, and the connection to it.

    Args:
        environment: Variables that it needs beside those of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.connection, theirs = Pipe()
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CALL, str(theirs.fileno()), str(os.getpid())],
            env={**os.environ, "PYTHONPATH": importable(), **environment},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            # Ctrl-C is for the process that started it, which ends it in order.
            process_group=0,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def give(self, message: Any, memory: Memory) -> None:
        """Send a message and shared memory; where it has died, waiting for an answer will tell."""
        with contextlib.suppress(OSError):
            self.connection.send(message)
            send(self.connection, memory)

    def answer(self) -> Any:
        """Return what it has answered; None where it has died."""
        try:
            return receive(self.connection)
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """End it, in whatever state it is; return in a sentence how it has ended."""
        self._process.kill()
        status = self._process.wait()
        self.connection.close()
        with self._errors as errors:
            size = errors.seek(0, os.SEEK_END)
            errors.seek(max(size - LAST_BYTES, 0))
            lines = errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"it ended with status {status}. {' '.join(said[-1:])}"


def serve(connection: int, parent: int) -> None:
    """Train clones for another process until that one ends; what a worker does.

    Args:
        connection: Descriptor of the connection to it.
        parent: Its id.
    """
    _end_with(parent)
    orders = Connection(connection)
    try:
        worker = _worker(orders)
        ready: Any = worker.describe()
    except Exception as error:
        ready = Failure(*failure_of(error))
    _answer(orders, ready)
    while not isinstance(ready, Failure):
        task = orders.recv()
        _answer(orders, worker.train(task, receive(orders)))


def _worker(orders: Connection) -> Worker:
    """Build the network once more, by what is sent."""
    process: Any = current_process()
    # By this, `multiprocessing` and MIHA recognize a process that only imports the script.
    process._inheriting = True
    spawn.prepare(orders.recv())
    worker = Worker(receive(orders))
    del process._inheriting
    return worker


def _answer(orders: Connection, value: Any) -> None:
    send(orders, put(value))


def _end_with(parent: int) -> None:
    """End this process within about a second of its parent's end, however that comes."""

    def watch() -> None:
        # A process that loses its parent is given another one.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="miha-watch", daemon=True).start()


def _sent(job: Job) -> tuple[dict[str, Any], Memory]:
    """Return what is needed to import the user's script, if anything is, and the job in memory.

    Raises:
        ArgumentError: The job cannot be sent.
    """
    try:
        # Without its arrays: names of classes and functions are sent, and not their code.
        text = pickle.dumps(job, protocol=5, buffer_callback=lambda _: None)
        sent = put(job)
    except Exception as error:
        raise ArgumentError(
            "The network and its data must be such that they can be sent to another process. "
            f"Received: {type(error).__name__}: {first_line(error)} Where it is the data (a "
            "tf.data.Dataset, say), give arrays or a keras.utils.PyDataset, or leave `workers` "
            "out; where it is a class or a function of yours, put it into a module."
        ) from error
    if b"__main__" not in text:
        return {}, sent
    known = spawn.get_preparation_data("miha")
    names = ("sys_argv", "init_main_from_name", "init_main_from_path")
    return {name: known[name] for name in names if name in known}, sent
