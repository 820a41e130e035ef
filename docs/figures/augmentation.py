"""Draw every augmentation and every preset on the two sample photographs that come with scikit-learn.

    python docs/figures/augmentation.py [OUT.png]

The photographs are china.jpg and flower.jpg of `sklearn.datasets.load_sample_images`, CC BY 2.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from beholder.base.records import PixelPolicy
from beholder.data.augment import PRESETS, Augment, augment, mix, preset
from beholder.image import load
from beholder.machine.draws import Draws

SIDE = 72
COLUMNS = 8
CREDIT = "photographs by danielbuechele and vultilion,\nCC BY 2.0, as scikit-learn ships them; cropped"
FUNCTIONS = {
    "scale": Augment(scale=0.6),
    "crop": Augment(crop=0.8),
    "aspect": Augment(aspect=0.8),
    "rotate": Augment(rotate=45),
    "flip": Augment(horizontal=0.6, vertical=0.5),
    "translate": Augment(translate=0.3),
    "brightness": Augment(brightness=0.7),
    "contrast": Augment(contrast=0.8),
    "saturation": Augment(saturation=1.0),
    "erase": Augment(erase=1.0, erase_area=(0.05, 0.3)),
    "mixup": Augment(mixup=1.0),
    "cutmix": Augment(cutmix=1.0),
}
"""Each function alone, over a range wider than any preset's, so that it can be seen."""


def photographs() -> Tensor:
    """Return the two photographs, float32 (2, 3, SIDE, SIDE) in 0..1."""
    policy = PixelPolicy(SIDE, SIDE, fit="crop")
    pixels = np.stack([load(picture, policy) for picture in load_sample_images().images])
    return torch.from_numpy(pixels).float() / 255


def varied(images: Tensor, plan: Augment, number: int, *, seed: int) -> Tensor:
    """Return `number` variants, of the two photographs in turn: float32 (number, 3, SIDE, SIDE)."""
    found = []
    for epoch in range((number + 1) // 2):
        draws = Draws(seed, epoch, torch.arange(2))
        found.append(mix(augment(images, draws, plan), torch.eye(2), draws, plan)[0])
    return torch.cat(found)[:number]


def strip(images: Tensor) -> npt.NDArray[np.float32]:
    """Return pictures side by side, two white pixels between: float32 (H, W, 3)."""
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=1.0)
    joined: npt.NDArray[np.float32] = torch.cat(list(framed), dim=2).permute(1, 2, 0).clamp(0, 1).numpy()
    return joined


def draw(path: Path) -> None:
    """Write the figure as a PNG of 256 colours."""
    images = photographs()
    half = COLUMNS // 2
    cell, label, gap = SIDE + 2, 84, 8
    rows = [(name, strip(varied(images, plan, half, seed=226)), plan) for name, plan in FUNCTIONS.items()]
    width = 2 * (label + half * cell) + gap
    height = cell * (1 + len(rows) // 2 + len(PRESETS.names())) + 5 * gap
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)

    def place(text: str, pixels: npt.NDArray[np.float32], left: int, top: int) -> None:
        figure.figimage(pixels, xo=left + label, yo=height - top - cell, origin="upper")
        figure.text((left + label - 8) / width, 1 - (top + cell / 2) / height, text, ha="right", va="center", fontsize=8)

    top = gap
    place("photographs", strip(images), 0, top)
    figure.text(0.99, 1 - (top + cell / 2) / height, CREDIT, ha="right", va="center", fontsize=7, color="0.35")
    top += cell + gap
    for k, (name, pixels, _) in enumerate(rows):
        place(name, pixels, (k % 2) * (label + half * cell + gap), top + k // 2 * cell)
    top += cell * (len(rows) // 2) + 2 * gap
    for name in PRESETS.names():
        place(f"preset\n{name}", strip(varied(images, preset(name, size=SIDE), COLUMNS + 1, seed=1)), 0, top)
        top += cell
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
