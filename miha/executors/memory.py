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


class Memory:
    """What `put` has written; it is freed with this object, and with those that read it.

    Attributes:
        file: Its descriptor.
    """

    def __init__(self, file: int) -> None:
        self.file = file

    def __del__(self) -> None:
        os.close(self.file)


def put(value: Any) -> Memory:
    """Write a value that can be pickled into new memory; its arrays are not copied before.

    Raises:
        Exception: What pickling it, or a lack of memory, raises.
    """
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(text), *(buffer.raw() for buffer in buffers)]
    sizes = [len(parts), *(part.nbytes for part in parts)]
    header = np.array(sizes, SIZE).tobytes()

    with _nameless() as file:
        for part in (memoryview(header), *parts):
            file.write(part)
            file.write(bytes(-part.nbytes % ALIGNMENT))
        file.flush()
        return Memory(os.dup(file.fileno()))


def get(file: int) -> Any:
    """Return what `put` has written.

    Its arrays may be written to, which nobody else sees.

    Args:
        file: Descriptor of the memory; it may be closed afterwards.
    """
    written = memoryview(mmap(file, 0, access=ACCESS_COPY))
    number = int(np.frombuffer(written, SIZE, 1)[0])
    sizes = np.frombuffer(written, SIZE, number, SIZE.itemsize)
    end = SIZE.itemsize + sizes.nbytes

    parts = []
    for size in sizes.tolist():
        begin = end + -end % ALIGNMENT
        end = begin + size
        parts.append(written[begin:end])
    text, *buffers = parts
    return pickle.loads(text, buffers=buffers)


def send(connection: Connection, memory: Memory) -> None:
    """Let another process read what `put` has written."""
    reduction.send_handle(connection, memory.file, 0)


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
