"""Draw every corruption at its five severities on a sample photograph that comes with scikit-learn.

    python docs/figures/corruptions.py [OUT.jpg [SIDE]]

The photograph is china.jpg of `sklearn.datasets.load_sample_images`, CC BY 2.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_images

from beholder.base.records import PixelPolicy
from beholder.image import load
from beholder.image.corruptions import GROUPS, SEVERITIES, corrupt

CREDIT = "photograph by danielbuechele, CC BY 2.0,\nas scikit-learn ships it; cropped"


def strip(picture: torch.Tensor, name: str) -> np.ndarray:
    """Return one picture at every severity, side by side: uint8 (H, W, 3)."""
    made = [corrupt(picture, name, severity, [0]) for severity in SEVERITIES] if name else [picture]
    framed = torch.nn.functional.pad(torch.cat(made), (1, 1, 1, 1), value=255)
    return torch.cat(list(framed), dim=2).permute(1, 2, 0).numpy()


def draw(path: Path, side: int) -> None:
    """Write the figure: two columns of rows, one row a corruption, mildest at the left."""
    photo = load(load_sample_images().images[0], PixelPolicy(side, side, fit="crop"))
    picture = torch.from_numpy(photo)[None]
    cell, label, gap = side + 2, 96, 8
    names = [(group, name) for group, of in GROUPS.items() for name in of]
    half = -(-len(names) // 2)
    width, height = 2 * (label + 5 * cell) + gap, (half + 1) * cell + 3 * gap
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)

    def place(text: str, name: str, left: int, top: int) -> None:
        figure.figimage(strip(picture, name), xo=left + label, yo=height - top - cell, origin="upper")
        figure.text((left + label - 8) / width, 1 - (top + cell / 2) / height, text, ha="right", va="center", fontsize=8)

    place("photograph", "", 0, gap)
    words = f"severities 1 to 5 from the left, at {side} pixels. {CREDIT}"
    figure.text(0.99, 1 - (gap + cell / 2) / height, words, ha="right", va="center", fontsize=7, color="0.35")
    for k, (group, name) in enumerate(names):
        column, row = divmod(k, half)
        place(f"{name.replace('_', ' ')}\n({group})", name, column * (label + 5 * cell + gap), 2 * gap + (row + 1) * cell)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(path, quality=85, optimize=True)


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".jpg")
    draw(out, int(sys.argv[2]) if len(sys.argv) > 2 else 80)
