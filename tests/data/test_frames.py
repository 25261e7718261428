"""Data of pandas, text and sparse matrices: as the arrays that `fit` trains on."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from keras import layers
from networks import dense

import miha
from miha import ArgumentError
from miha.data.arrays import as_array, prepare
from miha.data.feed import to_tensor
from miha.data.opening import open_data
from miha.data.sparse import size_of
from miha.data.text import bytes_of, is_text

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has text"
)


def frame(**columns):
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([True, False], [1, 0]),
        (np.array([3, 4], "int8"), [3, 4]),
        (pd.array([1, None], "Int64"), [1, np.nan]),
        (pd.array([True, False], "boolean"), [1, 0]),
        (pd.array([1.5, None], "Float32"), [1.5, np.nan]),
        (pd.Categorical([10, 20]), [10, 20]),
        (pd.arrays.SparseArray([0, 7]), [0, 7]),
        (np.array([True, 2], dtype=object), [1, 2]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_columns_of_any_kind_beside_numbers_are_numbers(column, expected):
    array = as_array(frame(number=[0.5, -0.5], other=column))
    assert array.dtype == "float32"
    np.testing.assert_array_equal(array, np.stack([[0.5, -0.5], expected], 1).astype("float32"))


def test_whole_numbers_and_booleans_stay_whole():
    array = as_array(frame(a=[1, 2], b=[True, False]))
    assert array.dtype == "int64" and array.tolist() == [[1, 1], [2, 0]]
    assert as_array(frame(a=[True, False])).dtype == "bool"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["a", "b"], "column 'city' of text"),
        (pd.Categorical(["a", "b"]), r"column 'city' of category.*get_dummies"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "column 'city' of datetime64"),
        ([{}, []], "column 'city' of object"),
    ],
    ids=["text", "category", "date", "object"],
)
def test_a_column_that_is_no_number_is_named(column, words):
    with pytest.raises(ArgumentError, match=f"(?s){words}"):
        as_array(frame(number=[1.0, 2.0], city=column))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.Categorical(["no", "yes"]), "a series of category, such as 'no'.* from 0: y.cat.codes"),
        (pd.Categorical(["no", None]), "a series of category, such as 'no'.* from 0: y.cat.codes"),
        (["no", None], r"such as 'no'.* from 0: y.astype\('category'\).cat.codes"),
    ],
    ids=["categories", "missing category", "missing text"],
)
def test_labels_in_a_series_are_told_how_they_become_numbers(values, words):
    with pytest.raises(ArgumentError, match=f"Labels must be numbers.*{words}") as refused:
        prepare(np.zeros((2, 1)), pd.Series(values))
    assert "column" not in str(refused.value)


def test_a_series_is_one_column_and_frames_may_stand_in_dictionaries():
    numbers = pd.Series([1.0, 2.0, 3.0])
    x = {"a": frame(b=[1, 2, 3], c=[True, False, True]), "d": numbers}
    data, _ = prepare(x, pd.Series([0, 1, 0]), sample_weight=numbers)
    assert {name: array.shape for name, array in data.x.items()} == {"a": (3, 2), "d": (3, 1)}
    assert data.y.shape == data.sample_weight.shape == (3, 1)


def test_a_missing_number_is_refused_as_any_that_is_not_finite():
    with pytest.raises(ArgumentError, match="must be finite. Received: 1 values"):
        prepare(frame(a=[0.5, 1.0], b=pd.array([1, None], "Int64")), np.zeros(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda text: np.array(text),
        lambda text: np.array(text, dtype=object),
        lambda text: np.array([word.encode() for word in text], dtype=object),
        pytest.param(lambda text: tf.constant(text), marks=needs_tensorflow),
        lambda text: pd.Series(text),
    ],
    ids=["numpy", "objects", "bytes", "tensor", "series"],
)
@needs_tensorflow
def test_text_reaches_the_network_as_text(make):
    array = as_array(make(["good film", "bad plot"]))
    assert is_text(array)
    assert tf.reshape(to_tensor(array), [-1]).numpy().tolist() == [b"good film", b"bad plot"]


def test_text_is_known_by_what_it_says_and_not_by_where_it_lies_in_memory():
    first, second = (np.array(["ab", "c" + str(n)], dtype=object) for n in (1, 1))
    other = np.array(["a", "bc1"], dtype=object)
    assert bytes_of(first) == bytes_of(second) != bytes_of(other)


def test_objects_that_are_not_all_text_are_no_text():
    assert not is_text(np.array(["a", 1], dtype=object))
    assert not is_text(np.array([], dtype=object))


@needs_tensorflow
def test_a_dataset_may_hold_text_and_sparse_tensors():
    words = tf.data.Dataset.from_tensor_slices((["a", "b", "c"], [0, 1, 0])).batch(2)
    network = keras.Sequential([keras.Input((), dtype="string")])
    data, _ = open_data(network, words)
    assert is_text(data.few().x) and data.samples == 4

    matrix = np.eye(4, dtype="float32")
    sparse = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(matrix), range(4))).batch(4)
    data, _ = open_data(keras.Sequential([keras.Input((4,))]), sparse)
    np.testing.assert_array_equal(data.few().x, matrix[:2])


@pytest.mark.parametrize(
    "make",
    [
        scipy.sparse.csr_matrix,
        scipy.sparse.coo_array,
        pytest.param(lambda matrix: tf.sparse.from_dense(matrix), marks=needs_tensorflow),
    ],
)
def test_a_sparse_matrix_is_dense_and_counted_so(make):
    matrix = np.diag(np.arange(1, 5, dtype="float32"))
    sparse = make(matrix)
    assert size_of(sparse) == matrix.nbytes
    np.testing.assert_array_equal(as_array(sparse), matrix)


@needs_tensorflow
def test_a_ragged_tensor_is_refused_with_a_cure_that_learns_what_fit_learns(tmp_path):
    rows = tf.ragged.constant([[1, 2], [3], [4, 5, 6], [7]] * 4)
    y = np.arange(16) % 2
    batches = tf.data.Dataset.from_tensor_slices((rows, y)).batch(8)
    with pytest.raises(ArgumentError, match=r"(?s)`x` of RaggedTensorSpec.*dataset.map"):
        open_data(dense(), batches)
    with pytest.raises(ArgumentError, match=r"(?s)RaggedTensor of shape.*to_tensor\(\).*mask_zero"):
        open_data(dense(), rows, y)

    def network(has_mask):
        keras.utils.set_random_seed(0)
        words = layers.Embedding(10, 4, mask_zero=has_mask)
        ends = [layers.GlobalAveragePooling1D(), layers.Dense(2, "softmax")]
        model = keras.Sequential([keras.Input((None,), dtype="int32"), words, *ends])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    wanted = (
        network(has_mask=False).fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    )
    padded = batches.map(lambda x, y: (x.to_tensor(), y))
    arguments = {"m": 1, "c": 0, "mutations": ["learning_rate"], "monitor": "eval_loss"}
    run = miha.MIHA(
        network(has_mask=True), padded, shuffle=False, verbose=0, logs=tmp_path / "run", **arguments
    )
    np.testing.assert_allclose(run.optimize().history["loss"], wanted, rtol=1e-6)
