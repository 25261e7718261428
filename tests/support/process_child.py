"""A process whose clones train in processes of its own, with a network of one weight.

Usage: ``python process_child.py FOLDER``. Prints its worker's id, then ``sleeping`` when its
clone does; it does until it is stopped from outside.
"""

from __future__ import annotations

import signal
import sys
import threading
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


def tell(workers):
    """Say when a process has a clone."""
    while not workers._busy:
        time.sleep(0.01)
    print("sleeping", flush=True)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Shells ignore it in the background.
    workers = ProcessExecutor(1).start(make_job(Sleeping))
    try:
        with resumable(lambda: "Stopped."):
            print(*(process.pid for process in workers._starting), flush=True)
            threading.Thread(target=tell, args=(workers,), daemon=True).start()
            run(make_loop(Path(sys.argv[1]), workers=workers, **SCHEDULE))
    finally:
        workers.close()


if __name__ == "__main__":
    main()
