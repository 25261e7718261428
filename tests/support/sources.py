"""Data of every kind that is read anew for each epoch, for tests."""

from __future__ import annotations

import math

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf


class Pairs(keras.utils.PyDataset):
    def __init__(self, x, y, size=20, **arguments):
        super().__init__(**arguments)
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return math.ceil(len(self.x) / self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return self.x[part], self.y[part]


class Listed:
    """Batches that can be iterated again and again."""

    def __init__(self, x, y, size=13):
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return math.ceil(len(self.x) / self.size)

    def __iter__(self):
        for start in range(0, len(self.x), self.size):
            yield self.x[start : start + self.size], self.y[start : start + self.size]


def dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y))


def loader(x, y, size=20, **arguments):
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.as_tensor(x), torch.as_tensor(y))
    return torch.utils.data.DataLoader(pairs, size, **arguments)


def mapped(folder, *arrays):
    found = []
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
        found.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    return found


def in_hdf5(folder, *arrays, **arguments):
    with h5py.File(folder / "data.h5", "w") as file:
        for number, array in enumerate(arrays):
            file.create_dataset(str(number), data=array, **arguments)
    file = h5py.File(folder / "data.h5", "r")
    return [file[str(number)] for number in range(len(arrays))]
