"""A task of one's own in fifteen lines: the direction of what a picture shows, learnt as the two numbers (cos, sin).

    python examples/angle.py                                     # learns it of arrows that are drawn here
    PYTHONPATH=examples beholder train SOURCE --task angle:ANGLE --set data.augment=none --set data.flip=none

Classes are the names of directions in degrees: 0, 15, …, 345. Between them the answer is the mean direction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

import beholder
from beholder.measure.families import CATEGORICAL, through
from beholder.tasks.errors import by_error
from beholder.tasks.single import SINGLE
from beholder.tasks.task import alone

TURN = 2 * np.pi * np.arange(24) / 24
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)])


def circle(v):
    return torch.as_tensor(CIRCLE, dtype=v.dtype, device=v.device)


def loss(v, targets, *, smoothing=0.0, weights=None):
    return (v - targets @ circle(v).T).square().sum(1).mean()


def activation(v):
    return (8 * v @ circle(v)).softmax(1)


def right(v, targets):
    return (v * (targets @ circle(v).T)).sum(1).clamp(0, 1).mean()


def off(p, truth):
    return np.abs(np.angle(p @ np.exp(1j * TURN) * np.exp(-1j * TURN[truth]), deg=True))


FAMILY = through(CATEGORICAL, 8 * CIRCLE, name="direction")
DIRECTION = replace(SINGLE, name="angle", family=FAMILY, loss=loss, turns=alone(loss, right), activation=activation)
ANGLE = by_error(DIRECTION, "degrees", off, most=180)


def arrows(n: int = 1200, *, side: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 (n, side, side) of arrows on noise, and their directions in degrees (n,)."""
    rng = np.random.default_rng(seed)
    step = np.arange(n) % len(TURN)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    along = x * CIRCLE[0, step, None, None] + y * CIRCLE[1, step, None, None]
    across = np.abs(y * CIRCLE[0, step, None, None] - x * CIRCLE[1, step, None, None])
    arrow = (np.abs(along) < 9) & (across < np.where(along > 2, (9 - along) / 2, 1.5))
    return np.clip(60 + 120 * arrow + rng.normal(0, 25, arrow.shape), 0, 255).astype(np.uint8), 15 * step


def main(n: int = 1200, **fields: object) -> beholder.Bundle:
    """Train on arrows, print the test's scores and a direction, and return the bundle."""
    parts = beholder.split(beholder.scan(arrows(n)), near=False)
    fields = {"net": "cnn", "epochs": 12, "augment": "none", "flip": "none", **fields}
    model = beholder.train(parts, task="angle:ANGLE", **fields)
    print(beholder.evaluate(model, parts.test).scores.headline["degrees"])
    picture = arrows(1, seed=1)[0][0]
    cosine, sine = model.outputs(model.pixels(picture)[None])[0][0]
    print(f"0 degrees, told as {np.degrees(np.arctan2(sine, cosine)):.1f}")
    return model


if __name__ == "__main__":
    main()
