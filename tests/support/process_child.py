"""A process whose clones train in processes of its own, with a network of one weight.

Usage: ``python process_child.py FOLDER [guarded]``. Prints its workers' ids, then runs until it is
stopped from outside: its clones sleep.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from executor_contract import SCHEDULE
from fakes import FakeTrainer, make_job, make_loop, run

from miha.executors.processes import ProcessExecutor
from miha.run.interrupts import resumable


def sleeps(genome):
    time.sleep(1000)


class Sleeping(FakeTrainer):
    def __init__(self):
        super().__init__(fails=sleeps)


def main():
    workers = ProcessExecutor(2).start(make_job(Sleeping))
    try:
        with resumable(lambda: "Stopped."):
            print(*(process.pid for process in workers._starting), flush=True)
            run(make_loop(Path(sys.argv[1]), workers=workers, **SCHEDULE))
    finally:
        workers.close()


if __name__ == "__main__":
    main()
