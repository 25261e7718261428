"""Values in memory that processes share: written once, and read without a copy.

The memory has no name in any folder. It is gone with the last process that has it, however that
one ends.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from mmap import ACCESS_COPY, mmap
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, cast

import numpy as np

ALIGNMENT = 64
"""Bytes at whose multiples arrays begin: TensorFlow copies those that do not."""

SIZE = np.dtype("<i8")


def put(value: Any) -> BinaryIO:
    """Write a value that can be pickled into new memory; its arrays are not copied before.

    Returns:
        A file, which frees the memory when it is closed.

    Raises:
        Exception: What pickling it, or a lack of memory, raises.
    """
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(text), *(buffer.raw() for buffer in buffers)]
    sizes = [len(parts), *(part.nbytes for part in parts)]
    header = np.array(sizes, SIZE).tobytes()

    file = _nameless()
    for part in (memoryview(header), *parts):
        file.write(part)
        file.write(bytes(-part.nbytes % ALIGNMENT))
    file.flush()
    return file


def get(file: int) -> Any:
    """Return the value in a file that `put` has written.

    Its arrays may be written to, which nobody else sees.

    Args:
        file: The file's descriptor; it may be closed afterwards.
    """
    memory = memoryview(mmap(file, 0, access=ACCESS_COPY))
    (number,) = np.frombuffer(memory, SIZE, 1)
    place = SIZE.itemsize
    sizes = np.frombuffer(memory, SIZE, number, place)
    place += sizes.nbytes

    parts = []
    for size in sizes.tolist():
        place += -place % ALIGNMENT
        parts.append(memory[place : place + size])
        place += size
    text, *buffers = parts
    return pickle.loads(text, buffers=buffers)


def send(connection: Connection, file: BinaryIO) -> None:
    """Give another process memory that `put` has filled."""
    reduction.send_handle(connection, file.fileno(), 0)


def receive(connection: Connection) -> Any:
    """Return a value that another process has sent.

    Raises:
        EOFError: The other process is gone.
    """
    file = reduction.recv_handle(connection)
    try:
        return get(file)
    finally:
        os.close(file)


def _nameless() -> BinaryIO:
    """Return an empty file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("miha"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
