"""Draw the figures of the tutorial: tutorial-1.png to tutorial-6.png, one a chapter.

    python docs/figures/tutorial.py [FOLDER]

The pictures are the digits of scikit-learn (`load_digits`; E. Alpaydin & C. Kaynak, UCI repository, 1998, CC BY 4.0).
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import beholder
from beholder.data import geometry
from beholder.measure.families import CATEGORICAL
from beholder.measure.intervals import wilson

F64 = npt.NDArray[np.float64]
BLUE, RED, GREY = "#1f6f8b", "#c8502d", "#777777"


def figure(columns: int = 1, *, width: float = 6.4, height: float = 2.6) -> tuple[Figure, Any]:
    """Return a figure and its axes, side by side."""
    made = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = made.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return made, axes


def save(made: Figure, path: Path) -> None:
    """Write a figure as a PNG of 64 colours."""
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(64).save(path, optimize=True)


def grid(
    axis: Any, values: F64, title: str, *, low: float = 0.0, high: float = 1.0, digits: int = -1, colours: str = "gray"
) -> None:
    """Show a small matrix as squares; digits: with its numbers in so many decimals, -1: without."""
    axis.imshow(values, cmap=colours, vmin=low, vmax=high)
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    for (i, j), value in np.ndenumerate(values if digits >= 0 else np.zeros((0, 0))):
        dark = colours == "gray" and value < (low + high) / 2
        axis.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=6.5, color="w" if dark else "k")


def digit(number: int = 0) -> F64:
    """Return one digit, float64 (8, 8) in 0..1."""
    return np.asarray(load_digits().images[number] / 16, np.float64)


def preprocessing(path: Path) -> None:
    """One digit, and what scaling, cropping, rotating and all of them make of it."""
    image = torch.from_numpy(digit(5))[None, None].float()
    one = torch.ones(1)
    crop = geometry.cropping(0.5 * one, 0.2 * one, 0.5 * one, height=8, width=8)
    turn, grow = geometry.rotation(25 * one), geometry.scaling(0.75 * one, 0.75 * one)
    changes = {
        "as it is": (),
        "scaled by ¾": (grow,),
        "half the area": (crop,),
        "turned by 25°": (turn,),
        "all in one": (crop, grow, turn),
    }
    made, axes = figure(len(changes), width=7, height=1.7)
    for axis, (title, matrices) in zip(axes, changes.items(), strict=True):
        grid(axis, geometry.warp(image, *matrices)[0, 0].double().numpy(), title)
    save(made, path)


def convolution(path: Path) -> None:
    """A digit, Sobel's filter, and the map that comes out."""
    kernel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    picture = digit()
    edges = np.array([[(kernel * picture[i : i + 3, j : j + 3]).sum() for j in range(6)] for i in range(6)])
    made, axes = figure(3, width=7, height=2.6)
    grid(axes[0], picture, "picture, 8 × 8", digits=1)
    axes[0].add_patch(_frame(-0.5, 3, RED))
    grid(axes[1], kernel, "filter, 3 × 3", low=-4, high=4, digits=0, colours="RdBu_r")
    grid(axes[2], edges, "map of edges, 6 × 6", low=-4, high=4, digits=1, colours="RdBu_r")
    axes[2].add_patch(_frame(-0.5, 1, "k"))
    save(made, path)


def _frame(corner: float, side: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((corner, corner), side, side, fill=False, edgecolor=colour, linewidth=2.5)


def initialisation(path: Path) -> None:
    """The size of the signal, layer by layer, for weights of three sizes."""
    made, axis = figure()
    for deviation, colour, words in (
        (0.12, RED, "0.12: explodes"),
        (1 / 16, BLUE, "He, 0.0625: stays"),
        (0.03, GREY, "0.03: vanishes"),
    ):
        torch.manual_seed(0)
        h, sizes = torch.randn(64, 512), [1.0]
        for _ in range(20):
            h = torch.relu(h @ (deviation * torch.randn(512, 512)))
            sizes.append(float(h.square().mean().sqrt()))
        axis.plot(sizes, color=colour, label=words)
    axis.set(yscale="log", xlabel="layer", ylabel="RMS of the outputs", xticks=range(0, 21, 5))
    axis.legend(frameon=False, fontsize=8)
    save(made, path)


def descent(path: Path) -> None:
    """The loss over 100 steps of gradient descent on a small network, for three learning rates."""
    digits = load_digits()
    x, truth = digits.data / 16, np.eye(10)[digits.target]
    made, axis = figure()
    for rate, colour, words in ((0.02, GREY, "0.02: too small"), (0.5, BLUE, "0.5: good"), (5.0, RED, "5: too large")):
        axis.plot(_losses(x, truth, rate), color=colour, label=f"learning rate {words}")
    axis.set(xlabel="step", ylabel="loss", ylim=(0, 5))
    axis.legend(frameon=False, fontsize=8)
    save(made, path)


def _losses(x: F64, truth: F64, rate: float) -> list[float]:
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(0, (2 / 64) ** 0.5, (64, 32)), rng.normal(0, (1 / 32) ** 0.5, (32, 10))
    b1, b2 = np.zeros(32), np.zeros(10)
    found = []
    for _ in range(100):
        a = x @ w1 + b1
        h = np.maximum(0, a)
        losses, slope = CATEGORICAL.cost(h @ w2 + b2, truth)
        found.append(float(losses.mean()))
        back = slope / len(x)
        before = (back @ w2.T) * (a > 0)
        w2, b2 = w2 - rate * h.T @ back, b2 - rate * back.sum(0)
        w1, b1 = w1 - rate * x.T @ before, b1 - rate * before.sum(0)
    return found


def overfitting(path: Path) -> None:
    """Loss on training and on validation pictures of a large network that learns from 100 pictures."""
    digits = load_digits()
    parts = beholder.split(beholder.scan(((digits.images * 15).astype(np.uint8), digits.target)), seed=0)
    few = dataclasses.replace(parts, train=parts.train.take(np.arange(100)))
    rows = beholder.train(few, recipe="tutorial", net="mlp", epochs=40, seed=0).history
    epochs = [row["epoch"] for row in rows]
    best = min(rows, key=lambda row: row["valid_loss"])
    made, axis = figure()
    axis.plot(epochs, [row["loss"] for row in rows], color=GREY, label="training")
    axis.plot(epochs, [row["valid_loss"] for row in rows], color=BLUE, label="validation")
    axis.plot(best["epoch"], best["valid_loss"], "o", color=RED, label="least validation loss")
    axis.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axis.legend(frameon=False, fontsize=8)
    save(made, path)


def intervals(path: Path) -> None:
    """The Wilson interval around an accuracy of 0.95, by the number of test pictures."""
    n = np.unique(np.geomspace(10, 10_000, 200).round()).astype(int)
    found = [wilson(0.95 * k, k) for k in n]
    made, axis = figure()
    axis.fill_between(
        n, [s.low for s in found], [s.high for s in found], color=BLUE, alpha=0.25, label="95 % interval (Wilson)"
    )
    axis.axhline(0.95, color=BLUE)
    axis.set(xscale="log", xlabel="test pictures", ylabel="accuracy", ylim=(0.6, 1.0))
    axis.set_xticks([10, 100, 1000, 10_000], ["10", "100", "1,000", "10,000"])
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    save(made, path)


FIGURES = (preprocessing, convolution, initialisation, descent, overfitting, intervals)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for chapter, draw in enumerate(FIGURES, start=1):
        draw(folder / f"tutorial-{chapter}.png")
