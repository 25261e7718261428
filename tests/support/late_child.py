"""A process that makes an asynchronous run in a folder until it is killed; no Keras, true threads.

Usage: ``python late_child.py FOLDER``. How long a clone takes is drawn anew each time.
"""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from fakes import FakeTrainer, make_job, make_loop, run

from miha.executors.worker import Worker

NUMBER = 4


class Threads:
    """Workers that are threads of this process."""

    def __init__(self) -> None:
        job = make_job(pop_size=6)
        self._idle = [Worker(job) for _ in range(NUMBER)]
        self._busy: dict[Future, tuple[int, Worker]] = {}
        self._pool = ThreadPoolExecutor(NUMBER)

    @property
    def free(self):
        return len(self._idle)

    def share(self, parent, values):
        return parent, values

    def submit(self, number, task, shared):
        worker = self._idle.pop()
        self._busy[self._pool.submit(self._train, worker, task, shared)] = (number, worker)

    def gather(self):
        done = next(iter(wait(self._busy, return_when=FIRST_COMPLETED).done))
        number, worker = self._busy.pop(done)
        self._idle.append(worker)
        return [(number, done.result())]

    def close(self):
        self._pool.shutdown()

    @staticmethod
    def _train(worker, task, shared):
        time.sleep(random.choice([0.005, 0.005, 0.005, 0.08]))
        return worker.train(task, shared)


if __name__ == "__main__":
    schedule = {"m": 1, "n": 2, "k": 1, "c": 8, "pop_size": 6, "rest": False}
    workers = Threads()
    folder = Path(sys.argv[1])
    run(make_loop(folder, FakeTrainer(), workers=workers, asynchronous=0.5, **schedule))
    workers.close()
