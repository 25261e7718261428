"""How much memory the device has left for data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import keras

SHARE = 0.25
"""Share of the device's free memory that data may take; the rest is the networks'."""

UNKNOWN = 8 * 2**30
"""What a device is taken to have that does not tell."""


def room() -> int:
    """Return the bytes of data that may be held on the device."""
    return int(SHARE * _FREE[keras.backend.backend()]())


def _host() -> int:
    """Return the free bytes of this computer, or of the container that this process is in."""
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        lines = Path("/proc/meminfo").read_text().splitlines()
    except (OSError, ValueError, AttributeError):
        return UNKNOWN
    # What the system only keeps because nobody needs the room is free as well.
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return min([*(available or [int(pages)]), *_container()])


def _container() -> list[int]:
    """Return what the container's limit leaves, if there is one."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # None, or "max".
        return []
    return [max(limit - used, 0)]


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
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        return int(told.split()[0]) * 2**20
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return UNKNOWN


def _jax() -> int:
    import jax

    device = jax.devices()[0]
    stats: dict[str, Any] = device.memory_stats() or {}
    if device.platform == "cpu":
        return _host()
    return max(int(stats.get("bytes_limit", UNKNOWN)) - int(stats.get("bytes_in_use", 0)), 0)


def _torch() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else _host()


_FREE = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
