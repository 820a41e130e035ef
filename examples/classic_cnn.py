"""The classic first program of deep learning for images, spelled out; then the same in Beholder's five lines.

    python examples/classic_cnn.py fashion-mnist.zip

SOURCE is anything that Beholder reads: a folder of class folders, a zip of one, a CSV, an .npz. Its own test part is kept;
where it has none, one is split off. The net is conv 32@3x3, ReLU, max-pool 2, flatten, dense; Adam, batch 32, 10 epochs.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import beholder


def classic(source: str, *, epochs: int = 10, batch: int = 32) -> float:
    """Return the test accuracy in percent of the program as every first lesson writes it."""
    # 1 Preprocess: pictures become arrays, pixels become numbers in 0..1.
    (x_train, y_train), (x_test, y_test) = beholder.arrays(source)
    x_train, x_test = (torch.from_numpy(x).float().div(255) for x in (x_train, x_test))
    x_train, x_test = (x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2) for x in (x_train, x_test))
    y_train, y_test = torch.from_numpy(y_train), torch.from_numpy(y_test)
    channels, height, width = x_train.shape[1:]
    classes = int(max(y_train.max(), y_test.max())) + 1

    # 2 Build the network, layer by layer.
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * ((height - 2) // 2) * ((width - 2) // 2), classes),
    )

    # 3 Initialise it: Glorot's uniform weights, biases of zero.
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    # Compile: an optimiser and a loss.
    optimiser = torch.optim.Adam(net.parameters(), lr=0.001)
    loss = nn.CrossEntropyLoss()

    # 4 Fit by backpropagation.
    for epoch in range(epochs):
        for rows in torch.randperm(len(x_train)).split(batch):
            optimiser.zero_grad()
            error = loss(net(x_train[rows]), y_train[rows])
            error.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/{epochs}: loss of the last batch {error.item():.3f}")

    # 5, 6 Evaluate on pictures that it has not seen.
    with torch.inference_mode():
        right = sum(int((net(x).argmax(1) == y).sum()) for x, y in zip(x_test.split(1000), y_test.split(1000), strict=True))
    return 100 * right / len(x_test)


def five_lines(source: str, *, epochs: int = 10) -> float:
    """Return the same by Beholder, whose tutorial recipe is this very program; weights are chosen on a validation part."""
    parts = beholder.split(beholder.scan(source))
    model = beholder.train(parts, recipe="tutorial", epochs=epochs)
    scores = beholder.evaluate(model, parts.test)
    print(scores)
    return 100 * scores.scores.headline["accuracy"].value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    print(f"Accuracy: {classic(asked.source, epochs=asked.epochs):.2f}")
    print(f"Accuracy: {five_lines(asked.source, epochs=asked.epochs):.2f}")
