"""Pictures with coloured squares on noise, and a table of where they are: a small set for detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60)}


def drawn(folder: Path, *, n: int = 40, width: int = 96, height: int = 64, seed: int = 0) -> Path:
    """Write n pictures and boxes.csv into a new folder, and return its path. Every eighth picture has no square."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = ["path,label,xmin,ymin,xmax,ymax"]
    for k in range(n):
        pixels = rng.integers(90, 150, (height, width, 3)).astype(np.uint8)
        name = f"{k:03}.png"
        for _ in range(0 if k % 8 == 7 else int(rng.integers(1, 4))):
            side = int(rng.integers(12, 28))
            left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            label = str(rng.choice(list(COLOURS)))
            pixels[top : top + side, left : left + side] = COLOURS[label]
            rows.append(f"{name},{label},{left},{top},{left + side},{top + side}")
        if k % 8 == 7:
            rows.append(f"{name},,,,,")
        Image.fromarray(pixels).save(folder / name)
    table = folder / "boxes.csv"
    table.write_text("\n".join(rows) + "\n", "utf-8")
    return table
