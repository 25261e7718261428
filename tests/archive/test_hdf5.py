"""Weights: what Keras writes is let through, and what else HDF5 can do is refused."""

from __future__ import annotations

import io
import struct

import h5py
import numpy as np
import pytest

from miha.archive.hdf5 import check_weights


def h5(fill, **how) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **how) as file:
        fill(file)
    return buffer.getvalue()


def everything(file):
    kinds = ["f2", "f4", "f8", "i1", "i8", "u1", "u8", "?", "c8", "c16", "V2", "V1"]
    for i, kind in enumerate(kinds * 20):
        file[f"layers/a/vars/{i}"] = np.zeros((i % 3, 2), kind)
    file["scalar"] = 3
    file.create_group("optimizer/vars").attrs["name"] = "ä" * 100
    file["layers/a/vars/0"].attrs["dtype"] = "bfloat16"


def test_what_keras_writes_is_let_through():
    check_weights(h5(everything))


def soft(file):
    file["a"] = np.zeros(3)
    file["b"] = h5py.SoftLink("/a")


def external(file):
    file["b"] = h5py.ExternalLink("/etc/passwd", "/a")


def twice(file):
    file["a"] = np.zeros(3)
    file["b"] = file["a"]


def circle(file):
    group = file.create_group("a/b")
    group["c"] = file["a"]


def chunked(file):
    file.create_dataset("a", (100,), chunks=(10,))


def gzipped(file):
    file.create_dataset("a", (10**9,), chunks=(10**6,), compression="gzip")


def never_written(file):
    file.create_dataset("a", (10**9,))


def text_array(file):
    file["a"] = "text"


def fixed_text(file):
    file["a"] = np.array([b"text"])


def reference(file):
    file.create_dataset("a", data=file.ref, dtype=h5py.ref_dtype)


def named_type(file):
    file["a"] = np.dtype("f4")


def wide_opaque(file):
    file["a"] = np.zeros(3, "V16")


def table(file):
    file["a"] = np.zeros(3, [("x", "f8"), ("y", "f8"), ("z", "f8")])


def outside(file):
    file.create_dataset("a", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file):
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (10,))
    file.create_virtual_dataset("a", layout)


def many_notes(file):
    file["a"] = np.zeros(3)
    file["a"].attrs["dtype"] = ["bfloat16"] * 1000


def compact(file):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_FLOAT, space, plan)


STRANGE = (
    soft, external, twice, circle, chunked, gzipped, never_written, text_array, fixed_text,
    reference, named_type, wide_opaque, table, outside, virtual, many_notes, compact,
)  # fmt: skip


@pytest.mark.parametrize("fill", STRANGE, ids=lambda fill: fill.__name__)
def test_weights_that_are_more_than_arrays_are_refused(fill):
    with pytest.raises(ValueError, match="the weights must"):
        check_weights(h5(fill))


@pytest.mark.parametrize("how", [{"libver": "latest"}, {"userblock_size": 512}])
def test_weights_of_another_format_are_refused(how):
    with pytest.raises(ValueError, match="format that Keras writes"):
        check_weights(h5(everything, **how))


def test_weights_that_are_cut_off_are_refused():
    data = h5(everything)
    for length in range(0, len(data), 97):
        with pytest.raises((ValueError, struct.error)):
            check_weights(data[:length])


def test_a_heap_whose_free_list_is_a_circle_is_refused():
    """With it, libhdf5 1.14.6 takes memory until there is none."""
    data = bytearray(h5(lambda file: file.create_group("a")))
    heap = data.index(b"HEAP")
    free, start = (int.from_bytes(data[heap + i : heap + i + 8], "little") for i in (16, 24))
    data[start + free : start + free + 8] = free.to_bytes(8, "little")
    with pytest.raises(ValueError, match="heaps of names that end"):
        check_weights(bytes(data))


def test_a_tree_that_leads_back_into_itself_is_refused():
    data = bytearray(h5(lambda file: file.create_group("a")))
    tree = data.index(b"TREE")
    data[tree + 5] = 1
    data[tree + 32 : tree + 40] = tree.to_bytes(8, "little")
    with pytest.raises(ValueError, match="each part once"):
        check_weights(bytes(data))
