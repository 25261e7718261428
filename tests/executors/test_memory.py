"""Values in shared memory: what is written is read, and belongs to the reader."""

from __future__ import annotations

import os

import numpy as np
import pytest

from miha.executors import memory
from miha.records import Snapshot

ARRAYS = (
    np.arange(24, dtype="float32").reshape(2, 3, 4),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::3],
    np.zeros((0, 4), "float32"),
    np.array(7, "int64"),
    np.array(["a", None], object),
)


@pytest.fixture(params=["memory", "file"])
def put(request, monkeypatch):
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    return memory.put


def read(written):
    return memory.get(written.file)


def test_what_is_written_is_read(put):
    found = read(put((Snapshot(ARRAYS, "adam", ()), {"text": "é"})))
    assert found[1] == {"text": "é"} and found[0].optimizer == "adam"
    for array, wanted in zip(found[0].variables, ARRAYS, strict=True):
        assert array.dtype == wanted.dtype and array.shape == wanted.shape
        np.testing.assert_array_equal(array, wanted)


def test_arrays_are_not_copied_and_begin_where_tensorflow_wants_them(put):
    for array in read(put([np.ones(3, "int8"), np.ones(5, "float32")])):
        assert not array.flags.owndata
        assert array.ctypes.data % memory.ALIGNMENT == 0


def test_what_a_reader_writes_nobody_else_sees(put):
    written = put(np.zeros(3))
    first = read(written)
    first += 1
    np.testing.assert_array_equal(read(written), np.zeros(3))


def test_the_memory_has_no_name_and_is_closed_with_its_last_user(put):
    written = put(np.zeros(3))
    assert os.fstat(written.file).st_nlink == 0
    file = written.file
    del written
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
