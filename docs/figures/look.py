"""Draw the picture of LOOK.md: the page of `beholder look` on a handwritten digit, its pixels and its first convolution.

    python docs/figures/look.py [OUT.png]

It trains the net `cnn` on the digits of scikit-learn (BSD), and needs Playwright and Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_digits

import beholder

WIDTH = 900
"""Pixels of the page."""


def page(folder: Path) -> Path:
    """Train a small net, look at a digit of its test part, and return the page."""
    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    parts = beholder.split(beholder.scan((x, digits.target)), seed=0)
    model = beholder.train(parts, net="cnn", epochs=12, precision="fp32")
    name = next(key for key in parts.test.keys if digits.target[int(key)] == 3)
    Image.fromarray(x[int(name)]).save(folder / "three.png")
    return beholder.look(model, folder / "three.png").save(folder / "look.html")


def main(out: Path) -> None:
    """Write the figure to `out`."""
    chromium = os.environ.get("BEHOLDER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("left out: Chromium is not installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=arguments)
        shown = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        shown.goto(page(Path(folder)).as_uri())
        shown.locator("#probability-work tbody tr").first.wait_for()
        shown.evaluate("document.querySelector('nav').style.position = 'static'")
        parts = [
            Image.open(io.BytesIO(shown.locator(where).screenshot())) for where in (".verdict", "#first-work", "#head-work")
        ]
        browser.close()
    parts[2] = parts[2].crop((0, 0, parts[2].width, 560))
    drawn = Image.new("RGB", (WIDTH, sum(part.height + 12 for part in parts)), (247, 245, 241))
    top = 0
    for part in parts:
        drawn.paste(part, ((WIDTH - part.width) // 2, top))
        top += part.height + 12
    drawn = drawn.resize((drawn.width * 3 // 4, drawn.height * 3 // 4), Image.Resampling.LANCZOS)
    drawn.quantize(160, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
