"""One large array: what is read from it, and which pages are given back."""

from __future__ import annotations

import numpy as np
import pytest
from contract import rng
from sources import in_hdf5, mapped

from miha.data.column import Column, is_on_disk

VALUES = rng().normal(size=(5000, 3))


def columns(folder):
    [array], [chunked] = mapped(folder, VALUES), in_hdf5(folder, VALUES, chunks=(100, 3))
    return {"array": VALUES, "mapped": array, "a view": np.asarray(array), "chunked": chunked}


@pytest.mark.parametrize("kind", ["array", "mapped", "a view", "chunked"])
def test_samples_are_read_in_any_order_as_the_float_that_keras_computes_with(kind, tmp_path):
    values = columns(tmp_path)[kind]
    assert is_on_disk(values) == (kind != "array")
    column = Column(values)
    for places in (np.arange(10, 3000), rng().permutation(5000), np.array([7, 3, 3, 4999])):
        taken = column.take(places)
        assert taken.dtype == "float32"
        np.testing.assert_array_equal(taken, VALUES.astype("float32")[places])


def test_a_slice_is_read_as_that_slice_and_a_changed_copy_keeps_its_changes(tmp_path):
    mapped(tmp_path, VALUES)
    private = np.load(tmp_path / "0.npy", mmap_mode="c")
    private[0] = 5
    assert (Column(private).take(np.arange(3))[0] == 5).all()
    assert (Column(private).take(np.arange(3))[0] == 5).all()
    part = np.load(tmp_path / "0.npy", mmap_mode="r")[100:200, ::2]
    expected = VALUES[100:200, ::2].astype("float32")
    np.testing.assert_array_equal(Column(part).take(np.arange(100)), expected)


def test_hdf5_in_one_piece_is_mapped_and_read_only_files_only(tmp_path):
    [dataset] = in_hdf5(tmp_path, VALUES)
    column = Column(dataset)
    assert isinstance(column._values, np.memmap)
    np.testing.assert_array_equal(column.take(np.arange(5000)), VALUES.astype("float32"))
