"""`Execution(executor=...)`: the same run elsewhere, from what is sent."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from fakes import FakeWorkers
from networks import images

from miha import MIHA, ArgumentError, Execution, Search, SearchSpace, load
from miha.executors.worker import Worker, differences
from miha.trainer.blueprint import backend_environment

VALIDATION = images(32, seed=9)
RUN = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "batch_size": 32, "seed": 3, "verbose": 0}
RUN |= {"search": Search(rest=False)}  # Each cycle has a population.


@keras.saving.register_keras_serializable("miha_tests")
class Scaled(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, inputs):
        return 0.5 * inputs


def network():
    keras.utils.set_random_seed(4)
    layers = [keras.layers.Flatten(), Scaled(), keras.layers.Dense(8, "relu")]
    layers += [keras.layers.Dropout(0.3), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Elsewhere:
    """An executor whose workers hold the network that they were sent, and not the run's own."""

    def __init__(self, load_data=None, error=None, number=2):
        self.load_data, self.error, self.number, self.jobs = load_data, error, number, []

    def check(self):
        pass

    def start(self, job):
        if self.error:
            raise self.error
        self.jobs.append(job)
        # The last clone is the first to be ready.
        self.workers = FakeWorkers(self.number, job, seconds=lambda task: 10.0 - task.clone)
        return self.workers


def data():
    x, y = images()
    return {"x": x, "y": y, "validation_data": VALIDATION}


def other_data():
    return {**data(), "y": 1 - images()[1]}


def no_data():
    return images()


shared_network = functools.cache(network)
"""Built once: `MIHA` does not touch what it is given."""


def search(folder, executor="local", model=None, workers=None):
    space = SearchSpace(optimizers=["adam"], activations=["relu", "tanh"])
    execution = Execution(executor=executor, workers=workers)
    model = model or shared_network()
    return MIHA(model, **data(), logs=folder, execution=execution, space=space, **RUN)


def job_of(search_):
    """Return what workers would be sent, before a run has decided how it goes."""
    session = search_._session
    session._description |= {"choices": None, "measured": {}}
    return session._job()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return search(tmp_path_factory.mktemp("alone") / "run").optimize()


def values(path):
    model = load(path)[0]
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in (*model.weights,)]


def assert_same(result, other):
    assert result.lineage.equals(other.lineage)
    columns = [result.history.drop(columns="seconds"), other.history.drop(columns="seconds")]
    assert columns[0].equals(columns[1])
    for path in (*result.run_dir.rglob("*.zip"),):
        pairs = values(path), values(other.run_dir / path.relative_to(result.run_dir))
        for one, two in zip(*pairs, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_run_whose_clones_train_elsewhere_equals_one_in_this_process(tmp_path, alone):
    executor = Elsewhere()
    result = search(tmp_path / "run", executor).optimize()
    assert_same(result, alone)
    assert len(executor.workers.begun) == 6 and executor.workers.free == 0


def test_a_run_on_two_processes_equals_one_in_this_process(tmp_path, alone):
    assert_same(search(tmp_path / "run", workers=2).optimize(), alone)


def test_processes_have_as_many_threads_as_this_one(monkeypatch):
    backend = keras.config.backend()
    assert backend_environment() == {"KERAS_BACKEND": backend}
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 3)
    assert backend_environment() == {"KERAS_BACKEND": backend, "TF_NUM_INTRAOP_THREADS": "3"}


def test_data_that_cannot_be_sent_to_a_process_is_refused_before_anything_is_written(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(images()).batch(32)
    execution = Execution(workers=2)
    given = {"validation_data": VALIDATION, "logs": tmp_path / "run", "execution": execution}
    run = MIHA(shared_network(), dataset, **given, **RUN)
    with pytest.raises(ArgumentError, match="can be sent to another process.*give arrays"):
        run.optimize()
    assert not (tmp_path / "run" / "run.json").exists()


def test_data_that_workers_load_is_not_sent(tmp_path, alone):
    executor = Elsewhere(load_data=data, number=1)
    assert_same(search(tmp_path / "run", executor).optimize(), alone)
    assert executor.jobs[0].make_trainer.sources is None


def test_a_finished_run_starts_no_workers(alone):
    executor = Elsewhere()
    assert search(alone.run_dir, executor).optimize().lineage.equals(alone.lineage)
    assert executor.jobs == []


def test_where_there_is_no_place_nothing_is_written(tmp_path):
    executor = Elsewhere(error=ArgumentError("`gpus_per_clone` must not exceed 0."))
    with pytest.raises(ArgumentError, match="gpus_per_clone"):
        search(tmp_path / "run", executor).optimize()
    assert not list((tmp_path / "run").rglob("*.zip"))
    assert not (tmp_path / "run" / "run.json").exists()


def test_other_data_in_a_worker_is_seen(tmp_path):
    job = job_of(search(tmp_path / "run", Elsewhere(load_data=other_data)))
    assert differences(Worker(job).describe()[0], job.signature) == ["data"]


def test_data_is_loaded_as_a_dictionary(tmp_path):
    job = job_of(search(tmp_path / "run", Elsewhere(load_data=no_data)))
    with pytest.raises(ArgumentError, match="`load_data` must return a dictionary"):
        Worker(job)


def test_clones_on_workers_do_not_train_in_one_program():
    with pytest.raises(ArgumentError, match="`population` must not be 'fused'"):
        Execution(executor=Elsewhere(), population="fused")
    Execution(executor=Elsewhere(), population="auto")
    Execution(population="fused")


def test_the_precision_of_the_network_is_that_of_the_workers(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        search_ = search(tmp_path / "run", Elsewhere(), network())
    finally:
        keras.config.set_dtype_policy("float32")
    job = job_of(search_)
    try:
        assert differences(Worker(job).describe()[0], job.signature) == []
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
