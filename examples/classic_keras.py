"""The classic first program of deep learning for images, as textbooks print it for Keras; only the first line is Beholder's.

    python examples/classic_keras.py fashion-mnist.zip

SOURCE is anything that Beholder reads. Keras runs on torch: pip install 'beholder[keras]'. The same in Beholder's five lines is
examples/classic_beholder.py.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from keras import Input, Sequential
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from keras.utils import set_random_seed

import beholder


def classic(source: str, *, epochs: int = 10, size: int = 0) -> float:
    """Return the test accuracy in percent."""
    (x_train, y_train), (x_test, y_test) = beholder.arrays(source, size=size)

    # 1 Preprocess
    x_train, x_test = x_train / 255.0, x_test / 255.0
    if x_train.ndim == 3:
        x_train, x_test = x_train[..., None], x_test[..., None]
    set_random_seed(0)

    # 2, 3 Build the network; Keras initialises it by Glorot's uniform weights
    model = Sequential()
    model.add(Input(x_train.shape[1:]))
    model.add(Conv2D(32, (3, 3), activation="relu"))
    model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(int(y_train.max()) + 1, activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    # 4 Fit by backpropagation
    model.fit(x_train, y_train, epochs=epochs, batch_size=32, verbose=2)

    # 5, 6 Evaluate on pictures that it has not seen
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"loss: {loss:.3f}")
    return 100 * accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=0, help="pixels of both sides")
    asked = parser.parse_args()
    print(f"Accuracy: {classic(asked.source, epochs=asked.epochs, size=asked.size):.2f}")
