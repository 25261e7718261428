"""TensorFlow's notes on its own start, which say nothing to a user of a command or an example."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what is written to the process's errors while Keras is imported.

    TensorFlow writes its first lines from C++, before any setting of its own takes effect. Where
    the import fails, they are shown. An exception is raised as ever.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        errors = os.dup(2)
    except OSError:
        # A process without such a file has nothing to hide.
        yield
        return

    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except Exception:
            hidden.seek(0)
            os.write(errors, hidden.read())
            raise
        finally:
            os.dup2(errors, 2)
            os.close(errors)
