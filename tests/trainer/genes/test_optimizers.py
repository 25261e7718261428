"""The optimizers of one network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from networks import dense, images

from miha.trainer.genes.optimizers import Optimizers

BOUNDS = (1e-6, 1.0)


def test_what_was_set_beside_the_class_is_carried_over():
    own = keras.optimizers.Adam(
        0.002, beta_1=0.8, clipnorm=1.5, use_ema=True, ema_momentum=0.9, weight_decay=0.01
    )
    optimizers = Optimizers(dense(own))
    config = optimizers.use("sgd").get_config()
    assert config["clipnorm"] == 1.5
    assert config["use_ema"] and config["ema_momentum"] == 0.9
    assert config["weight_decay"] == 0.01
    assert config["learning_rate"] == pytest.approx(0.01)
    assert config["momentum"] == 0.9


def test_going_back_to_the_own_class_brings_its_own_settings_back():
    optimizers = Optimizers(dense(keras.optimizers.Adam(0.002, beta_1=0.8)))
    optimizers.use("sgd")
    own = optimizers.use("adam")
    assert own.beta_1 == 0.8
    assert optimizers.learning_rate("adam", BOUNDS) == 0.002


def test_an_optimizer_begins_at_a_rate_at_which_it_moves_within_the_bounds():
    optimizers = Optimizers(dense(keras.optimizers.Adam(0.5)))
    rates = {name: optimizers.learning_rate(name, BOUNDS) for name in ("sgd", "nadam", "lion")}
    assert rates == {"sgd": 0.01, "nadam": 0.001, "lion": 0.001}
    assert optimizers.learning_rate("adadelta", BOUNDS) == 1.0
    assert optimizers.learning_rate("adagrad", BOUNDS) == 0.01
    narrow = {n: optimizers.learning_rate(n, (0.002, 0.005)) for n in ("sgd", "nadam", "adam")}
    assert narrow == {"sgd": 0.005, "nadam": 0.002, "adam": 0.5}


@pytest.mark.parametrize(
    "settings",
    [{"gradient_accumulation_steps": 2}, {"loss_scale_factor": 8.0}, {"global_clipnorm": 0.5}],
)
def test_accumulation_scaling_and_clipping_are_carried_over(settings):
    optimizers = Optimizers(dense(keras.optimizers.SGD(**settings)))
    name, value = next(iter(settings.items()))
    assert optimizers.use("adam").get_config()[name] == value


def test_moments_and_their_age_are_handed_on_where_gradients_accumulate():
    model = dense(keras.optimizers.Adam(gradient_accumulation_steps=2))
    optimizers = Optimizers(model)
    optimizers.use("adam")
    model.fit(*images(), batch_size=16, epochs=1, verbose=0)
    before = model.optimizer
    after = optimizers.start_fresh("nadam")
    assert after is model.optimizer is not before
    assert int(after._iterations) == int(before._iterations) > int(after.iterations) > 0
    np.testing.assert_array_equal(after._momentums[0], before._momentums[0])


def test_the_weight_decay_of_adamw_belongs_to_its_class():
    assert Optimizers(dense("adamw")).use("sgd").weight_decay is None


def test_one_object_serves_each_class():
    optimizers = Optimizers(dense())
    assert optimizers.use("lion") is optimizers.use("lion")


def test_a_network_that_was_trained_before_still_has_fresh_slots_to_start_with():
    model = dense()
    model.fit(*images(), verbose=0)
    optimizers = Optimizers(model)
    optimizers.use("adam")
    assert int(optimizers.use("adam").iterations) > 0
    fresh = optimizers.start_fresh("adam")
    assert int(fresh.iterations) == 0
    assert not any(np.array(v).any() for v in fresh.variables[2:])


def test_a_schedule_goes_on_where_it_is_in_a_new_optimizer():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 6, 0.5)
    model = dense(keras.optimizers.SGD(schedule, use_ema=True))
    optimizers = Optimizers(model)
    optimizers.use("sgd")
    model.fit(*images(), batch_size=16, epochs=1, verbose=0)
    rate = float(model.optimizer.learning_rate)
    adam = optimizers.start_fresh("adam")
    assert optimizers.scheduled and optimizers.learning_rate("adam", BOUNDS) is None
    assert float(adam.learning_rate) == pytest.approx(rate) == pytest.approx(0.05)
    average = adam._model_variables_moving_average[0]
    np.testing.assert_array_equal(average, model.trainable_variables[0])


def test_an_optimizer_of_the_users_own_is_kept():
    class Careful(keras.optimizers.SGD):
        pass

    optimizers = Optimizers(dense(Careful(0.5)))
    assert optimizers.own_name == "careful"
    assert optimizers.learning_rate("careful", BOUNDS) == 0.5
    assert isinstance(optimizers.start_fresh("careful"), Careful)
