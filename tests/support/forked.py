"""Scripts in processes of their own, without the seconds that TensorFlow takes to be imported.

They are forked from one process that has imported it, but not begun to use it. A script is what
`sys.argv` says, and `__main__`; its environment changes only what is read after the imports.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path


class Ended(subprocess.CompletedProcess[str]):
    """How a script has ended, and what it wrote."""


def run_script(script: Path, *arguments: object, timeout: int = 300) -> Ended:
    """Run a script to its end.

    Args:
        script: A file of Python; it may import what stands in this folder.
        arguments: What it finds in `sys.argv`.
        timeout: Seconds after which a signal ends it.

    Returns:
        Its exit status, its output and its errors.
    """
    command = [str(script), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        parent = _parent()
        parent.stdin.write(json.dumps([folder, timeout, command]) + "\n")
        parent.stdin.flush()
        status = int(parent.stdout.readline())
        written = [(Path(folder) / name).read_text() for name in ("out", "err")]
    return Ended(command, status, *written)


@functools.cache
def _parent() -> subprocess.Popen[str]:
    """Start the process that scripts are forked from."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, __file__],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, parent)
    return parent


def _end(parent: subprocess.Popen[str]) -> None:
    parent.stdin.close()
    parent.stdout.close()
    parent.wait()


def _serve() -> None:
    for line in sys.stdin:
        folder, timeout, command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.alarm(timeout)
            _run(Path(folder), command)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _run(folder: Path, command: list[str]) -> None:
    """Run a script in place of this process."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY), number)
    sys.argv = command
    status = 0
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as error:
        status = 0 if error.code is None else error.code
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    import keras  # noqa: F401

    import miha.api  # noqa: F401

    _serve()
