"""Data that is read anew for each epoch: every kind of it, on the backend that Keras runs on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from blends import exchanged, skipping
from contract import assert_equal, rng
from networks import branched, branched_data, convolutional, images, shallow
from sources import Listed, Pairs, dataset, in_hdf5, loader, mapped

import miha
from miha import MihaWarning, SearchSpace
from miha.data.arrays import Data
from miha.data.feed import first_inputs, how_many
from miha.data.indexed import Indexed
from miha.data.opening import open_data
from miha.data.stream import seed_of
from miha.trainer.factory import make_trainer
from miha.validation import choose_batch_size

BACKEND = keras.backend.backend()
FORKED = pytest.param(
    True, marks=pytest.mark.skipif(BACKEND == "jax", reason="JAX warns of processes that fork")
)


def trainer_of(model, *data, batch_size=20, shuffle=True, evaluate_training=False, **arguments):
    training, validation = open_data(model, *data, **arguments)
    size = choose_batch_size(batch_size, training.batch_size, training.rebatches, training.samples)
    return make_trainer(
        model, training, validation, batch_size=size, validation_batch_size=32,
        space=SearchSpace(activations=("relu", "tanh")), shuffle=shuffle,
        evaluate_training=evaluate_training, seed=0,
    )  # fmt: skip


def trained(trainer, epochs=2, batch_size=None):
    if batch_size is not None:
        trainer.express(trainer.genome.replace(batch_size=batch_size))
    logs = [e.logs for e in trainer.train(epochs, rng(5), rng(6), lambda epoch: None)]
    return trainer.snapshot(), logs


def assert_trained_alike(first, second, epochs=2, batch_size=None):
    """Train a trainer, and compare with another one, or with what became of one."""
    ours, our_logs = trained(first, epochs, batch_size)
    is_trained = isinstance(second, tuple)
    theirs, their_logs = second if is_trained else trained(second, epochs, batch_size)
    assert_alike(ours, theirs)
    assert_logged_alike(our_logs, their_logs)


class Shared:
    """A trainer that serves many tests: its programs are compiled once."""

    def __init__(self, trainer):
        self._trainer = trainer
        self._start, self._own = trainer.snapshot(), trainer.genome

    def at_first(self, shuffle=True):
        """Return the trainer as it was before it has trained."""
        self._trainer.restore(self._start)
        self._trainer.express(self._own)
        self._trainer._settings = replace(self._trainer._settings, shuffle=shuffle)
        return self._trainer


@cache
def on_arrays():
    x, y = images(100)
    return Shared(trainer_of(shallow(), x, y, validation_data=(x, y)))


@cache
def trained_on_arrays(shuffle):
    """Return what becomes of arrays in memory: first, and then with batches of another size."""
    trainer = on_arrays().at_first(shuffle)
    return trained(trainer), trained(trainer, batch_size=24)


@cache
def exchanged_on_arrays():
    trainer = on_arrays().at_first()
    trainer.express(exchanged(trainer, "tanh"), "keep_function")
    return trainer.snapshot()


@cache
def on_pairs():
    return Shared(trainer_of(shallow(), Pairs(*images(100))))


@cache
def trained_on_pairs():
    return trained(on_pairs().at_first())


def assert_alike(first, second):
    """Compare two snapshots: bit by bit, but where XLA compiles another program for each way."""
    if BACKEND != "jax":
        assert_equal(first, second)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def assert_logged_alike(first, second):
    tolerance = 1e-6 if BACKEND == "jax" else 0
    for ours, theirs in zip(first, second, strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=0)


REBATCHED = {
    "a dataset in batches": lambda x, y: dataset(x, y).batch(32),
    "a dataset without batches": dataset,
    "a dataset of unknown length": lambda x, y: dataset(x, y).filter(lambda x, y: True).batch(7),
    "a DataLoader": loader,
    "an iterable": Listed,
    "a function": lambda x, y: miha.Batches(lambda: iter(Listed(x, y)), len(Listed(x, y))),
}


@pytest.fixture(scope="module", params=list(REBATCHED))
def rebatched(request):
    source = REBATCHED[request.param](*images(100))
    return Shared(trainer_of(shallow(), source, validation_data=source))


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_of_any_source_train_as_the_same_arrays_do(rebatched, shuffle):
    ours = rebatched.at_first(shuffle)
    first, second = trained_on_arrays(shuffle)
    assert_trained_alike(ours, first)
    assert_trained_alike(ours, second, batch_size=24)


def test_an_activation_is_exchanged_for_batches_as_for_arrays(rebatched):
    """The exchange looks at the first samples, which are more than a stream's first part has."""
    trainer = rebatched.at_first()
    trainer.express(exchanged(trainer, "tanh"), "keep_function")
    assert_alike(trainer.snapshot(), exchanged_on_arrays())


LARGE = {
    "arrays": lambda folder, x, y: (x, y),
    "memory-mapped": mapped,
    "HDF5 in one piece": in_hdf5,
    "HDF5 in chunks": lambda folder, *arrays: in_hdf5(
        folder, *arrays, chunks=True, compression="gzip"
    ),
}


@pytest.fixture(scope="module", params=list(LARGE))
def large(request, tmp_path_factory):
    """Arrays that may be larger than the device, of a precision that it has not."""
    x, y = images(100)
    folder = tmp_path_factory.mktemp("large")
    return LARGE[request.param](folder, x.astype("float64"), y)


@pytest.fixture(scope="module")
def streamed(large):
    return Shared(trainer_of(shallow(), *large, validation_data=tuple(large), room=100))


def test_arrays_larger_than_the_device_train_as_those_on_it(streamed):
    trainer = streamed.at_first()
    assert set(trainer._streams) == {"train", "test"}
    assert trainer.fingerprint == on_arrays().at_first().fingerprint
    assert_trained_alike(trainer, trained_on_arrays(True)[0])


def test_an_activation_is_exchanged_for_large_arrays_as_for_small_ones(streamed):
    trainer = streamed.at_first()
    trainer.express(exchanged(trainer, "tanh"), "keep_function")
    assert_alike(trainer.snapshot(), exchanged_on_arrays())


def test_arrays_that_fit_are_those_of_memory(large):
    x, y = images(100)
    for held in open_data(shallow(), *large, validation_data=tuple(large), room=10**9):
        assert isinstance(held, Data)
        for ours, theirs in zip(held.arrays, (x, y), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_activations_blend_over_an_epoch_however_many_parts_that_has(tmp_path):
    ends = []
    for room in (10**9, 100):
        trainer = trainer_of(skipping(), *mapped(tmp_path, *images(100)), room=room)
        trainer.express(exchanged(trainer, "tanh"), "keep_function")
        ends.append(trained(trainer))
    assert_alike(ends[0][0], ends[1][0])
    assert_logged_alike(ends[0][1], ends[1][1])


def test_the_validation_split_and_weights_of_large_arrays_are_those_of_arrays(tmp_path):
    x, y = images(100)
    data, arguments = mapped(tmp_path, x, y), {"validation_split": 0.2, "class_weight": {1: 3.0}}
    streamed = trainer_of(shallow(), *data, room=0, **arguments)
    plain = trainer_of(shallow(), x, y, **arguments)
    assert streamed.fingerprint == plain.fingerprint
    assert_trained_alike(streamed, plain)


def test_what_fits_is_held_the_validation_data_first(tmp_path):
    x, y = mapped(tmp_path, *images(100))
    validation = images(40)
    room = sum(array.nbytes for array in validation)
    training, held = open_data(shallow(), x, y, validation_data=validation, room=room)
    assert isinstance(training, Indexed) and isinstance(held, Data)


def test_several_inputs_and_outputs_are_streamed():
    x, y = branched_data(100)
    weights = np.linspace(0, 2, 100, dtype="float32")
    streamed = trainer_of(branched(), x, y, weights, room=0)
    plain = trainer_of(branched(), x, y, weights)
    assert streamed.fingerprint == plain.fingerprint
    expected = trained(plain)
    assert_trained_alike(streamed, expected)
    source = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(10)
    assert_trained_alike(trainer_of(branched(), source), expected)


def test_weights_of_samples_and_classes_are_those_of_fit():
    x, y = images(100)
    weights = np.linspace(0, 2, 100, dtype="float32")
    for source, arguments, plain in (
        (tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(20), {}, (x, y, weights)),
        (dataset(x, y).batch(20), {"class_weight": {1: 3.0}}, (x, y)),
    ):
        ours = trainer_of(shallow(), source, **arguments)
        assert_trained_alike(ours, trainer_of(shallow(), *plain, **arguments))


@pytest.mark.skipif(BACKEND == "jax", reason="a step in a loop rounds otherwise on JAX")
@pytest.mark.parametrize("kind", ["dataset", "PyDataset", "loader"])
def test_weights_are_those_of_fit_bit_for_bit(kind):
    x, y = images(100)
    make = {"dataset": lambda x, y: dataset(x, y).batch(20), "PyDataset": Pairs, "loader": loader}
    trainer = trainer_of(convolutional(), make[kind](x, y), shuffle=False)
    model = convolutional()
    history = model.fit(make[kind](x, y), epochs=3, shuffle=False, verbose=0).history
    logs = [e.logs for e in trainer.train(3, rng(), None, lambda epoch: None)]
    for ours, theirs in zip(trainer.snapshot().variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [epoch["loss"] for epoch in logs] == history["loss"]


def test_the_batches_of_a_pydataset_stay_as_they_are_and_their_order_is_drawn():
    x, y = images(100)
    trainer = on_pairs().at_first()
    assert trainer.space.batch_size == (20, 20)
    places = np.random.default_rng(seed_of(rng(5))).permutation(5)
    order = (places[:, None] * 20 + np.arange(20)).ravel()
    plain = trainer_of(shallow(), x[order], y[order], shuffle=False)
    assert_trained_alike(trainer, plain, epochs=1)


@pytest.mark.parametrize("processes", [False, FORKED])
def test_the_workers_of_a_pydataset_are_asked_for_its_batches(processes):
    parallel = Pairs(*images(100), workers=2, use_multiprocessing=processes)
    expected = trained_on_pairs()
    assert_trained_alike(trainer_of(shallow(), parallel), expected)


def test_a_pydataset_is_told_of_epochs_and_not_of_evaluations_on_training_data():
    told = []

    class Telling(Pairs):
        def on_epoch_begin(self):
            told.append("begin")

        def on_epoch_end(self):
            told.append("end")

    with pytest.warns(MihaWarning, match="goes on from clone to clone"):
        trainer = trainer_of(shallow(), Telling(*images()), evaluate_training=True)
    trained(trainer, 2)
    assert told == ["begin", "end"] * 2


def test_batches_of_several_shapes_stay_as_they_are():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((None, 2)), keras.layers.GlobalAveragePooling1D()]
    layers += [keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
    lengths = [3, 5, 5, 2, 4]
    x = [rng(i).normal(size=(4, length, 2)).astype("float32") for i, length in enumerate(lengths)]

    def batches():
        for batch in x:
            yield batch, batch[:, 0, :1]

    spec = (tf.TensorSpec((None, None, 2)), tf.TensorSpec((None, 1)))
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    ends = []
    for source in (
        tf.data.Dataset.from_generator(batches, output_signature=spec),
        miha.Batches(batches, 5),
    ):
        trainer = trainer_of(model, source)
        assert trainer.space.batch_size == (4, 4)
        ends.append(trained(trainer)[0])
    assert_equal(*ends)
    for _ in range(2):
        for batch in x:
            model.train_on_batch(batch, batch[:, 0, :1])
    for ours, theirs in zip(ends[0].variables, model.variables, strict=True):
        np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(theirs), 1e-6)


def seeded(seed):
    return Listed(*(array[rng(seed).permutation(60)] for array in images(60)), size=20)


def test_a_function_that_takes_a_seed_decides_the_order_of_each_epoch():
    trainer, order, model = trainer_of(shallow(), miha.Batches(seeded, 3)), rng(5), shallow()
    ours, _ = trained(trainer)
    for seed in (seed_of(order), seed_of(order)):
        for batch in seeded(seed):
            model.train_on_batch(*batch)
    for a, b in zip(ours.variables, model.variables, strict=True):
        np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), 1e-4, 1e-6)


def assert_trains_alike_again(trainer):
    start, ends = trainer.snapshot(), []
    for _ in range(2):
        trainer.restore(start)
        ends.append(trained(trainer)[0])
    assert_equal(*ends)


def test_a_loader_draws_by_its_own_sampler_from_a_seed_by_place():
    torch = pytest.importorskip("torch")
    sampler = torch.utils.data.WeightedRandomSampler(torch.linspace(0, 1, 60), 40)
    trainer = trainer_of(shallow(), loader(*images(60), sampler=sampler, drop_last=True))
    assert trainer._samples == 40
    assert_trains_alike_again(trainer)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=FORKED.marks)])
def test_what_a_loaders_samples_draw_is_drawn_by_place(workers):
    torch = pytest.importorskip("torch")

    class Noisy(torch.utils.data.Dataset):
        def __init__(self):
            self.x, self.y = images(60)

        def __len__(self):
            return len(self.x)

        def __getitem__(self, place):
            return self.x[place] + torch.rand(()).numpy(), self.y[place]

    context = {"multiprocessing_context": "fork"} if workers else {}
    source = torch.utils.data.DataLoader(Noisy(), 20, num_workers=workers, **context)
    assert_trains_alike_again(trainer_of(shallow(), source))


def test_a_loader_of_an_iterable_dataset_keeps_its_batches():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __len__(self):
            return 60

        def __iter__(self):
            return iter(zip(*images(60), strict=True))

    trainer = trainer_of(shallow(), torch.utils.data.DataLoader(Stream(), 16))
    assert trainer.space.batch_size == (16, 16)
    plain = trainer_of(shallow(), *images(60), batch_size=16, shuffle=False)
    assert_trained_alike(trainer, plain)


@pytest.mark.parametrize(
    "source",
    [
        lambda x, y: dataset(x, y).shuffle(100).batch(20),
        lambda x, y: miha.Batches(lambda: dataset(x, y).shuffle(100).batch(20), 5),
    ],
)
def test_data_that_shuffles_itself_is_warned_of_and_left_to_it(source):
    x, y = images(100)
    with pytest.warns(MihaWarning, match=r"`x` is .* gives other samples, or another order"):
        training, _ = open_data(shallow(), source(x, y))
    found = np.concatenate([part.data.x for part in training.parts(20, rng(), True)])
    np.testing.assert_array_equal(np.sort(found, 0), np.sort(x, 0))
    assert not np.array_equal(found, x)


def test_evaluations_are_of_the_same_samples_each_time():
    trainer = trainer_of(shallow(), miha.Batches(seeded, 2), evaluate_training=True)
    trainer.express(trainer.genome.replace(learning_rate=1e-30))
    logs = trained(trainer, 3)[1]
    assert len({epoch["eval_loss"] for epoch in logs}) == 1


def test_a_dataset_is_not_told_of_an_epoch_when_its_first_samples_are_looked_at():
    told = []

    class Told(Pairs):
        def on_epoch_begin(self):
            told.append("begin")

    with pytest.warns(miha.MihaWarning, match="with an `on_epoch_begin`"):
        trainer = trainer_of(shallow(), Told(*images(100)))
    trainer.express(exchanged(trainer, "tanh"), "keep_function")
    assert not told


def test_the_first_samples_end_where_others_have_another_shape():
    class Growing(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            width = 4 if index < 2 else 5
            return np.full((2, width, 1), index, "float32"), np.zeros((2, 1), "float32")

    model = keras.Sequential([keras.Input((None, 1)), keras.layers.GlobalAveragePooling1D()])
    model.compile("sgd", "mse")
    stream, _ = open_data(model, Growing(), validation_data=None)
    assert first_inputs(stream, 2).shape == (4, 4, 1)


@pytest.mark.parametrize("kind", ["arrays", "HDF5 in one piece", "a dataset in batches"])
def test_the_first_samples_of_many_parts_are_those_of_arrays(kind, tmp_path):
    x, y = images(300)
    source = LARGE[kind](tmp_path, x, y) if kind in LARGE else (REBATCHED[kind](x, y),)
    stream, _ = open_data(shallow(), *source, validation_data=None, room=0)
    assert next(stream.parts(4, None, False)).data.samples < 256
    np.testing.assert_array_equal(first_inputs(stream, 4), x[:256])


def test_of_large_samples_few_are_looked_at():
    assert how_many(np.zeros((2, 8, 8, 1))) == 256
    assert how_many({"a": np.zeros((2, 256, 256, 3)), "b": None}) == 21
    assert how_many([np.zeros((2, 2**20)), np.zeros((2, 2**20))]) == 8
    assert how_many(np.zeros((2, 8, 8, 1)), 4096) == 4096


def test_more_of_the_first_samples_can_be_asked_for():
    x, y = images(300)
    assert len(first_inputs(Data(x, y), 4, 290)) == 290


def test_an_input_that_is_left_out_is_so_among_the_first_samples():
    class WithoutB(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return {"a": np.full((2, 1), index, "float32"), "b": None}, np.zeros((2, 1), "float32")

    held = first_inputs(Data({"a": np.arange(300.0)[:, None], "b": None}), 4)
    assert held["b"] is None and len(held["a"]) == 256
    stream, _ = open_data(shallow(), WithoutB(), validation_data=None)
    found = first_inputs(stream, 2)
    assert found["b"] is None and found["a"].ravel().tolist() == [0, 0, 1, 1, 2, 2]


def test_arrays_that_are_evaluated_on_as_well_are_held_once():
    trainer = trainer_of(shallow(), *images(100), evaluate_training=True)
    assert trainer._sources["test"] is trainer._sources["train"]
