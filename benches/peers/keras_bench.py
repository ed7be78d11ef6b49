"""Time Keras on TensorFlow (CPU) on the three networks of `ocellus bench`.

    pip install tensorflow-cpu keras numpy
    python keras_bench.py [--steps 50] [--repeats 3] [--mode best] [W1 W2 W3]

Prints one JSON object a line, with the keys of `ocellus bench --json` and the mode that was best:
median, least and most milliseconds of a step, images a second, both for training and for inference.
Data are in memory, numbers float32, the optimizer Adam. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

layers = keras.layers
DEVICE = "keras-tf-cpu"
BATCHES_IN_MEMORY = 8


def w1():
    return keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def w2():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def w3():
    """ResNet-20 for CIFAR: no biases but the last, 1×1 stride-2 shortcuts with batch-norm."""

    def conv_bn(x, filters, kernel, strides):
        x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.Activation("relu")(conv_bn(inputs, 16, 3, 1))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = layers.Activation("relu")(conv_bn(x, filters, 3, strides))
            y = conv_bn(y, filters, 3, 1)
            shortcut = conv_bn(x, filters, 1, strides) if strides == 2 else x
            x = layers.Activation("relu")(layers.Add()([shortcut, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


# name: network, trained parameters, batch size, image, classes
WORKLOADS = {
    "W1": (w1, 3_937_409, 32, (64, 64, 3), 2),
    "W2": (w2, 1_199_882, 64, (28, 28, 1), 10),
    "W3": (w3, 272_474, 32, (32, 32, 3), 10),
}


def data(batch, image, classes):
    random = np.random.default_rng(0)
    x = random.random((BATCHES_IN_MEMORY, batch, *image), np.float32)
    y = random.integers(0, classes, (BATCHES_IN_MEMORY, batch, 1))
    return x, y.astype(np.float32 if classes == 2 else np.int32)


def make(name, jit):
    network, parameters, *_, classes = WORKLOADS[name]
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = network()
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if trained != parameters:
        sys.exit(f"{name}: {trained} trained parameters, not {parameters}")
    loss = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(), loss, jit_compile=jit)
    return model


def timed(step, steps, warmup):
    """Milliseconds of each of `steps` calls; `step` returns only when its result is there."""
    times = []
    for i in range(warmup + steps):
        start = time.perf_counter()
        step(i % BATCHES_IN_MEMORY)
        if i >= warmup:
            times.append(1e3 * (time.perf_counter() - start))
    return times


def tensors(x, y):
    return [(tf.constant(a), tf.constant(b)) for a, b in zip(x, y)]


# --- Ways to train: each yields the milliseconds of its steps ---------------------------------


def train_function(name, x, y, steps, warmup, jit):
    """A plain tf.function around a gradient tape, with the batches as tensors."""
    model = make(name, jit)
    batches = tensors(x, y)
    loss_of = keras.losses.get(model.loss)
    model.optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=jit)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(loss_of(labels, model(images, training=True)))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    return timed(lambda i: float(step(*batches[i])), steps, warmup)


def train_on_batch(name, x, y, steps, warmup, jit):
    model = make(name, jit)
    batches = tensors(x, y)
    return timed(lambda i: model.train_on_batch(*batches[i]), steps, warmup)


def fit(name, x, y, steps, warmup, jit):
    """`Model.fit` over a tf.data pipeline in memory; a step is an equal part of an epoch's time."""
    model = make(name, jit)
    images, labels = x.reshape(-1, *x.shape[2:]), y.reshape(-1, 1)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(x.shape[1]).cache().repeat()
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    epochs = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            epochs.append(1e3 * (time.perf_counter() - self.start) / BATCHES_IN_MEMORY)

    count = max(1, steps // BATCHES_IN_MEMORY)
    skip = 1 + warmup // BATCHES_IN_MEMORY
    model.fit(dataset, epochs=skip + count, steps_per_epoch=BATCHES_IN_MEMORY, verbose=0, shuffle=False, callbacks=[Clock()])
    return epochs[skip:]


def predict_function(name, x, y, steps, warmup, jit):
    model = make(name, jit)
    batches = tensors(x, y)
    step = tf.function(lambda images: model(images, training=False), jit_compile=jit)
    return timed(lambda i: step(batches[i][0]).numpy(), steps, warmup)


TRAIN = {
    "function": (train_function, False),
    "function-jit": (train_function, True),
    "train_on_batch": (train_on_batch, False),
    "train_on_batch-jit": (train_on_batch, True),
    "fit": (fit, False),
    "fit-jit": (fit, True),
}
PREDICT = {"function": (predict_function, False), "function-jit": (predict_function, True)}


def best(modes, name, x, y, args):
    """The mode with the least median, over all repeats."""
    results = {}
    for _ in range(args.repeats):
        for mode, (run, jit) in modes.items():
            if args.mode in ("best", mode):
                try:
                    results.setdefault(mode, []).extend(run(name, x, y, args.steps, args.warmup, jit))
                except (tf.errors.OpError, ValueError, NotImplementedError) as error:
                    print(f"{name} {mode}: {error}", file=sys.stderr)
    for mode, times in results.items():
        print(f"{name} {mode}: {statistics.median(times):.2f} ms", file=sys.stderr)
    return min(results.items(), key=lambda item: statistics.median(item[1])) if results else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="W1, W2, W3 (default: all)")
    parser.add_argument("--steps", type=int, default=50, help="steps timed, each repeat")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--repeats", type=int, default=3, help="times that each mode is run")
    parser.add_argument("--mode", choices=["best", *TRAIN], default="best")
    args = parser.parse_args()
    if unknown := set(args.names) - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print(f"Keras {keras.__version__}, TensorFlow {tf.__version__}, NumPy {np.__version__}", file=sys.stderr)
    for name in args.names or WORKLOADS:
        _, _, batch, image, classes = WORKLOADS[name]
        x, y = data(batch, image, classes)
        for suite, modes in (("training", TRAIN), ("inference", PREDICT)):
            if found := best(modes, name, x, y, args):
                mode, times = found
                median = statistics.median(times)
                line = {"suite": suite, "name": name, "device": DEVICE, "mode": mode, "ms": median}
                line |= {"min_ms": min(times), "max_ms": max(times), "images_per_s": 1e3 * batch / median}
                line = {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
