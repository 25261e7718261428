"""The memory that a network may take while it is built.

That archives of networks that take more are refused is tested in test_vetting.py.
"""

from __future__ import annotations

import threading

import keras
import pytest

from miha.archive.memory_limit import MOST_TENSORS, budget


def test_the_budget_is_for_this_thread_and_this_block_only():
    before = keras.Variable.__init__, keras.KerasTensor.__init__, keras.src.ops.zeros
    inside, outside = threading.Event(), threading.Event()
    made = []

    def other():
        inside.wait(10)
        made.append(keras.Variable("zeros", shape=(1000,)))
        outside.set()

    thread = threading.Thread(target=other)
    thread.start()
    with budget(100):
        inside.set()
        outside.wait(10)
        with pytest.raises(MemoryError, match="exceeds the 100 bytes"):
            keras.Variable("zeros", shape=(26,))
    thread.join()
    assert made[0].shape == (1000,)
    keras.Variable("zeros", shape=(26,))
    assert before == (keras.Variable.__init__, keras.KerasTensor.__init__, keras.src.ops.zeros)


def test_the_budget_is_spent_once():
    with budget(100), pytest.raises(MemoryError):
        for _ in range(3):
            keras.Variable("zeros", shape=(10,))
    with budget(100):
        keras.Variable("zeros", shape=(10,), dtype="float64")
        keras.Variable("zeros", shape=(10,), dtype="bfloat16")


def test_the_budget_holds_for_symbolic_tensors():
    with budget(100), pytest.raises(MemoryError, match="symbolic tensors"):
        for _ in range(MOST_TENSORS + 1):
            keras.KerasTensor((1,))


@pytest.mark.parametrize(
    ("dtype", "fitting"),
    [("float32", 25), ("float64", 12), ("bfloat16", 50), ("int8", 100), ("bool", 100)],
)
def test_each_type_has_its_size(dtype, fitting):
    with budget(100):
        keras.Variable("zeros", shape=(fitting,), dtype=dtype)
    with budget(100), pytest.raises(MemoryError):
        keras.Variable("zeros", shape=(fitting + 1,), dtype=dtype)


def test_an_error_in_the_block_restores_keras():
    before = keras.Variable.__init__
    with pytest.raises(ZeroDivisionError), budget(100):
        raise ZeroDivisionError
    assert keras.Variable.__init__ is before
