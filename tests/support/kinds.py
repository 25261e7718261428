"""Small networks of the kinds that users bring beside those of `networks.GALLERY`."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops
from networks import _compiled, images

SAMPLES = 48


def tokens(samples: int = SAMPLES, seed: int = 0):
    """Sentences of six words of twenty; the class is which of the first two is larger."""
    x = np.random.default_rng(seed).integers(1, 20, size=(samples, 6))
    x[:, 4:] = 0  # Padding.
    return x, (x[:, 0] > x[:, 1]).astype("int64")


def pictures(samples: int = SAMPLES, seed: int = 0):
    return images(samples, seed)


@keras.saving.register_keras_serializable("miha_kinds")
class OwnLoss(keras.Model):
    """Computes its loss itself."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = keras.losses.sparse_categorical_crossentropy(y, y_pred)
        return ops.mean(loss) + 0.1 * ops.mean(y_pred**2)


@keras.saving.register_keras_serializable("miha_kinds")
class Placed(layers.Layer):
    """Adds to each word what its place means; the words' mask goes on."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.places = layers.Embedding(6, 8)
        self.supports_masking = True

    def build(self, shape):
        self.places.build(shape[1:2])

    def call(self, inputs):
        return inputs + self.places(ops.arange(6))


def attention():
    """Two embeddings, attention with a dropout of its own, a loss that the network computes."""
    keras.utils.set_random_seed(10)
    inputs = keras.Input((6,), dtype="int32")
    words = layers.Embedding(20, 8, mask_zero=True, name="words")(inputs)
    hidden = layers.LayerNormalization()(Placed()(words))
    attended = layers.MultiHeadAttention(2, 4, dropout=0.1)(hidden, hidden, use_causal_mask=True)
    hidden = layers.LayerNormalization()(layers.Add()([hidden, attended]))
    hidden = layers.Dense(8, activation="gelu", name="forward")(hidden)
    outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(hidden))
    model = OwnLoss(inputs, outputs)
    model.compile("adam", metrics=["accuracy"])
    return model


def pairs(samples: int = SAMPLES, seed: int = 0):
    a, b = np.random.default_rng(seed).normal(size=(2, samples, 6)).astype("float32")
    return {"a": a, "b": b}, {"larger": (a[:, 0] > b[:, 0]) * 1.0, "gap": a[:, :1] - b[:, :1]}


def siamese():
    """An encoder that is used twice, partly frozen; two outputs, two losses and their weights."""
    keras.utils.set_random_seed(11)
    frozen = layers.Dense(6, activation="tanh", name="frozen", trainable=False)
    statistics = layers.BatchNormalization(name="statistics", trainable=False)
    own = layers.Dense(4, activation="relu", name="own")
    encoder = keras.Sequential([keras.Input((6,)), frozen, statistics, own], name="encoder")
    inputs = {name: keras.Input((6,), name=name) for name in ("a", "b")}
    both = layers.Concatenate()([encoder(inputs["a"]), encoder(inputs["b"])])
    outputs = {
        "larger": layers.Dense(1, activation="sigmoid", name="larger")(both),
        "gap": layers.Dense(1, name="gap")(both),
    }
    model = keras.Model(inputs, outputs)
    losses, weights = {"larger": "binary_crossentropy", "gap": "mse"}, {"larger": 1.0, "gap": 0.3}
    model.compile("adam", losses, loss_weights=weights, metrics={"larger": ["accuracy", "AUC"]})
    return model


class Scaled(layers.Layer):
    """A layer of the user's own, not registered, with a weight and a count that is none."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, dtype="int32")

    def call(self, inputs, training=False):
        if training:
            self.calls.assign_add(1)
        return inputs * self.scale

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("miha_kinds")
class Penalty(layers.Layer):
    """Adds a loss of its own."""

    def call(self, inputs):
        self.add_loss(0.01 * ops.mean(inputs**2))
        return inputs


@keras.saving.register_keras_serializable("miha_kinds")
class Powered(keras.losses.Loss):
    def __init__(self, power=2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


class Largest(keras.metrics.Metric):
    """The largest error; not registered."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.maximum(self.value, ops.max(ops.abs(y_true - y_pred))))

    def result(self):
        return ops.convert_to_tensor(self.value)


class Smallest(Largest):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.minimum(self.value, -ops.max(ops.abs(y_true - y_pred))))


def away(y_true, y_pred):
    """A metric that is a function; not registered."""
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def numbers(samples: int = SAMPLES, seed: int = 0):
    x = np.random.default_rng(seed).normal(size=(samples, 6)).astype("float32")
    return x, x[:, :1] ** 2


def custom():
    keras.utils.set_random_seed(12)
    regular = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm"}
    stack = [Scaled(6), layers.Dense(8, activation="relu", **regular), Penalty(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((6,)), *stack])
    metrics = [Largest(), Smallest(name="smallest"), away]
    model.compile("adam", Powered(1.5), metrics=metrics)
    return model


def noisy():
    """Every kind of noise, with seeds and without."""
    keras.utils.set_random_seed(13)
    stack = [layers.GaussianNoise(0.1), layers.Conv2D(4, 3, activation="relu")]
    stack += [layers.SpatialDropout2D(0.1), layers.Flatten(), layers.GaussianDropout(0.1, seed=5)]
    stack += [layers.Dropout(0.2), layers.Dense(8, activation="selu"), layers.AlphaDropout(0.1)]
    stack += [layers.Dropout(0.2, seed=4)]
    return _compiled(
        keras.Sequential([keras.Input((8, 8, 1)), *stack, layers.Dense(2, activation="softmax")])
    )


def mixed(policy):
    def make():
        keras.utils.set_random_seed(14)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            stack = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()]
            stack += [layers.Flatten(), layers.Dense(8, activation="relu")]
            stack += [layers.Dense(2, activation="softmax", dtype="float32")]
            return _compiled(keras.Sequential([keras.Input((8, 8, 1)), *stack]))
        finally:
            keras.config.set_dtype_policy(before)

    return make


def bytes_(samples: int = SAMPLES, seed: int = 0):
    """Pictures of bytes."""
    x, y = images(samples, seed)
    return (x * 50 + 100).clip(0, 255).astype("uint8"), y


def unbuilt():
    """A Sequential without an input shape, and layers that make the data ready."""
    stack = [layers.Rescaling(1 / 255), layers.RandomFlip(seed=1), layers.Conv2D(4, 3)]
    stack += [layers.BatchNormalization(), layers.Activation("relu"), layers.Flatten()]
    return _compiled(keras.Sequential([*stack, layers.Dense(2, activation="softmax")]))


@keras.saving.register_keras_serializable("miha_kinds")
class TwoHeads(keras.Model):
    """Subclassed; takes a dictionary and gives one."""

    def __init__(self, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(8, activation=activation)
        self.heads = {"larger": layers.Dense(1, activation="sigmoid"), "gap": layers.Dense(1)}

    def call(self, inputs):
        hidden = self.hidden(ops.concatenate([inputs["a"], inputs["b"]], axis=-1))
        return {name: head(hidden) for name, head in self.heads.items()}

    def get_config(self):
        activation = keras.activations.serialize(self.hidden.activation)
        return {**super().get_config(), "activation": activation}


def dictionaries():
    keras.utils.set_random_seed(15)
    model = TwoHeads()
    losses = {"larger": "binary_crossentropy", "gap": "mse"}
    model.compile("adam", losses, loss_weights={"larger": 1.0, "gap": 0.5})
    return model


@keras.saving.register_keras_serializable("miha_kinds")
class Sampling(layers.Layer):
    """Draws a code around its mean, as a variational autoencoder does."""

    def __init__(self, seed=1, **kwargs):
        super().__init__(**kwargs)
        self.seed, self.noise = seed, keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        mean, log_variance = inputs
        surplus = 1 + log_variance - mean**2 - ops.exp(log_variance)
        self.add_loss(-0.05 * ops.mean(surplus))
        drawn = keras.random.normal(ops.shape(mean), seed=self.noise)
        return mean + ops.exp(0.5 * log_variance) * drawn if training else mean

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def variational():
    keras.utils.set_random_seed(16)
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(inputs)
    code = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
    outputs = layers.Dense(6)(layers.Dense(8, activation="relu")(code))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=2, clipnorm=1.0), "mse")
    return model


def itself(samples: int = SAMPLES, seed: int = 0):
    x, _ = numbers(samples, seed)
    return x, x


def residual():
    """Sums of layers, spectral normalization, a `Lambda`, averaged weights."""
    keras.utils.set_random_seed(17)
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Conv2D(4, 3, padding="same", activation="elu")(inputs)
    for _ in range(2):
        inner = layers.Conv2D(4, 3, padding="same", use_bias=False)(hidden)
        inner = layers.Activation("relu")(layers.BatchNormalization()(inner))
        hidden = layers.add([inner, hidden])
    hidden = layers.Lambda(lambda x: x * 2)(layers.GlobalAveragePooling2D()(hidden))
    hidden = layers.SpectralNormalization(layers.Dense(4, activation="tanh"))(hidden)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))
    return _compiled(model, keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True))


def sentences(samples: int = SAMPLES, seed: int = 0):
    """What is said, what was said before, and what is to be said."""
    said, heard = np.random.default_rng(seed).integers(1, 10, size=(2, samples, 5))
    return [said, heard], heard


def translator():
    """From sequence to sequence: a shared embedding, states handed on, a softmax at each step."""
    keras.utils.set_random_seed(18)
    said, heard = (keras.Input((5,), dtype="int32") for _ in range(2))
    words = layers.Embedding(10, 6, mask_zero=True)
    _, *state = layers.LSTM(4, return_state=True)(words(said))
    decoded = layers.LSTM(4, return_sequences=True)(words(heard), initial_state=state)
    decoded = layers.TimeDistributed(layers.Dense(6, activation="relu"))(decoded)
    outputs = layers.TimeDistributed(layers.Dense(10, activation="softmax"))(decoded)
    return _compiled(keras.Model([said, heard], outputs))


def coloured(samples: int = 32, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 32, 32, 3)).astype("float32")
    return x, rng.integers(2, size=samples)


def application(name, **settings):
    def make():
        keras.utils.set_random_seed(19)
        found = getattr(keras.applications, name)
        return _compiled(found(input_shape=(32, 32, 3), weights=None, classes=2, **settings))

    return make


KINDS = {
    "attention": (attention, tokens),
    "siamese": (siamese, pairs),
    "custom": (custom, numbers),
    "noisy": (noisy, pictures),
    "mixed_bfloat16": (mixed("mixed_bfloat16"), pictures),
    "mixed_float16": (mixed("mixed_float16"), pictures),
    "unbuilt": (unbuilt, bytes_),
    "dictionaries": (dictionaries, pairs),
    "variational": (variational, itself),
    "residual": (residual, pictures),
}
"""Each network with what makes its data."""

LARGE_KINDS = {
    "translator": (translator, sentences),
    "mobile_net": (application("MobileNetV2", alpha=0.35), coloured),
    "mobile_net_3": (application("MobileNetV3Small", alpha=0.75, minimalistic=True), coloured),
    "efficient_net": (application("EfficientNetB0"), coloured),
}
"""Those that take long."""

OWN = {part.__name__: part for part in (Scaled, Largest, Smallest, away)}
"""What plain Keras must be given to load them."""
