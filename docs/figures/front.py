"""Draw the picture of the README: the report of the demonstration, and the page that serves its model, side by side.

    python docs/figures/front.py [OUT.png]

It trains the demonstration (handwritten digits of scikit-learn, BSD), and needs Playwright and Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Error, sync_playwright

from beholder.study.demo import demo

WIDTH, HEIGHT, GAP = 900, 1000, 24
"""Pixels of each page, and between the two."""


def report(browser: Browser, path: Path) -> Image.Image:
    """Return the top of the report."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.goto(path.as_uri())
    return Image.open(io.BytesIO(page.screenshot()))


def served(browser: Browser, bundle: Path, pictures: list[Path]) -> Image.Image:
    """Return the page of `beholder serve` after it was given some pictures."""
    command = [sys.executable, "-m", "beholder", "serve", str(bundle), "--port", "8765"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for _ in range(60):
            try:
                page.goto("http://127.0.0.1:8765/")
                break
            except Error:  # it is not there yet
                page.wait_for_timeout(500)
        page.set_input_files("#files", [str(path) for path in pictures])
        page.evaluate("document.querySelector('#language').remove()")  # its label asks for a Chinese font
        page.wait_for_timeout(6000)
        return Image.open(io.BytesIO(page.screenshot()))
    finally:
        server.terminate()
        server.wait()


def larger(path: Path, folder: Path) -> Path:
    """Write a digit of 8 × 8 pixels enlarged, and return where."""
    out = folder / path.name
    Image.open(path).resize((160, 160), Image.Resampling.NEAREST).save(out)
    return out


def main(out: Path) -> None:
    """Write the figure to `out`."""
    chromium = os.environ.get("BEHOLDER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("left out: Chromium is not installed")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        demo(Path(place))
        bundle = Path(place) / "digits.beholder"
        pictures = [larger(path, Path(place)) for path in sorted((Path(place) / "pictures").glob("*.png"))[3:7]]
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=chromium, args=arguments)
        both = report(browser, bundle / "report.html"), served(browser, bundle, pictures)
    drawn = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), (208, 212, 218))
    drawn.paste(both[0], (0, 0))
    drawn.paste(both[1], (WIDTH + GAP, 0))
    drawn = drawn.resize((drawn.width * 2 // 3, drawn.height * 2 // 3), Image.Resampling.LANCZOS)
    drawn.quantize(96).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("front.png"))
