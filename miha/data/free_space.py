"""How much memory the device has left for data."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path
from typing import Any

import keras

SHARE = 0.25
"""Share of the device's free memory that data may take; the rest is the networks'."""

UNKNOWN = 8 * 2**30
"""Bytes that are assumed of a device that does not tell."""


def bytes_for_data() -> int:
    """Return the bytes of data that the device may hold."""
    free = _FREE[keras.backend.backend()]
    return int(SHARE * free())


def _host() -> int:
    """Return the free bytes of this computer, or of the container that this process is in."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        lines = Path("/proc/meminfo").read_text().splitlines()
    except (OSError, ValueError, AttributeError):
        return UNKNOWN
    # What the system keeps only while nobody needs the room is free as well.
    for line in lines:
        if line.startswith("MemAvailable"):
            _, kibibytes, _ = line.split()
            free = 1024 * int(kibibytes)
    return int(min(free, _container()))


def _container() -> float:
    """Return what the container's limit leaves; infinity where there is no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
    # There is no such file, or it says "max".
    except (OSError, ValueError):
        return math.inf
    return max(limit - used, 0)


def _tensorflow() -> int:
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return _host()
    used = int(tf.config.experimental.get_memory_info("GPU:0")["current"])
    return max(_total_of_gpu() - used, 0)


def _total_of_gpu() -> int:
    """Return the bytes of the first GPU, which TensorFlow itself does not tell."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        mebibytes, *_ = done.stdout.split()
        return int(mebibytes) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return UNKNOWN


def _jax() -> int:
    import jax

    device = jax.devices()[0]
    stats: dict[str, Any] = device.memory_stats() or {}
    if device.platform == "cpu":
        return _host()
    limit = int(stats.get("bytes_limit", UNKNOWN))
    used = int(stats.get("bytes_in_use", 0))
    return max(limit - used, 0)


def _torch() -> int:
    import torch

    if not torch.cuda.is_available():
        return _host()
    free, _ = torch.cuda.mem_get_info()
    return int(free)


_FREE = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
