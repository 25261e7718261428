"""A process that runs MIHA in a folder until it is killed; it is forked from one that has
TensorFlow imported, but not begun to use it.

Usage: ``python child.py``, then a folder a line on its input. It answers ``begun <pid>`` when the
run has begun, and ``ended <exit status>`` when the child is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

import numpy as np
from networks import images, normalized

import miha

RUN = {"m": 2, "n": 2, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 5, "verbose": 0}
RUN["space"] = miha.SearchSpace(["adam", "sgd"], ["relu", "tanh"])


def search(folder, **changes):
    """Return a small search with Dropout, BatchNormalization and every mutation."""
    return miha.MIHA(
        normalized(),
        *images(),
        validation_data=images(32, seed=9),
        logs=folder,
        **{**RUN, **changes},
    )


class Begun(miha.Callback):
    def on_run_begin(self, schedule, run_dir):
        print("begun", os.getpid(), flush=True)


def story(folder):
    """Return all that two runs must have in common: lineage, history, the last values."""
    result = miha.load_run(folder)
    model = result.model
    values = [np.array(v) for v in (*model.weights, *model.optimizer.variables)]
    history = result.history.drop(columns="seconds")
    return repr(
        (
            result.state,
            result.archives,
            history.to_dict("split"),
            result.lineage.to_dict("split"),
            [(value.dtype, value.shape, value.tobytes()) for value in values],
        )
    )


def run(folder) -> int:
    """Return the exit status that a script of these lines would have."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Shells ignore it in the background.
    try:
        search(folder, callbacks=[Begun()]).optimize()
    except SystemExit as error:
        return error.code
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(run(line.strip()))
        print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
