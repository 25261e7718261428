"""The compiled programs of JAX, kept on the disk for later processes."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import jax

VARIABLE = "MIHA_CACHE_DIR"
"""Names the folder instead; set but empty, nothing is kept."""

MOST_BYTES = 2**30
"""Beyond these, the programs least recently used are deleted."""

WORTH_KEEPING = 0.2
"""Seconds of compilation: a run has dozens of programs that take a second each."""


def keep_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless the user decides it.

    JAX has one such folder in a process: other programs of the process are kept there, too.
    """
    folder = cache_folder()
    if jax.config.jax_compilation_cache_dir is not None or folder is None:
        return
    # Where nothing can be written, nothing is kept.
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_private(folder):
            _keep_in(folder)


def cache_folder() -> Path | None:
    """Return where programs are kept: the user's cache folder as the platform has it."""
    if VARIABLE in os.environ:
        named = os.environ[VARIABLE]
        return Path(named) if named else None

    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "miha" / "jax"


def _is_private(folder: Path) -> bool:
    # Only the user may write there: what lies there is run.
    if not os.access(folder, os.W_OK):
        return False
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    is_mine = found.st_uid == os.getuid()
    others_can_write = bool(found.st_mode & 0o022)
    return is_mine and not others_can_write


def _keep_in(folder: Path) -> None:
    # JAX deletes old programs with the help of that package only.
    if jax.config.jax_compilation_cache_max_size == -1 and find_spec("filelock"):
        jax.config.update("jax_compilation_cache_max_size", MOST_BYTES)
    # The default of JAX; another value is the user's.
    if jax.config.jax_persistent_cache_min_compile_time_secs == 1.0:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    jax.config.update("jax_compilation_cache_dir", str(folder))
