"""A heat map as a picture: the original, the same in grey under the heat, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from beholder.base.arrays import F32, U8
from beholder.image.lettering import font, plain

SIDE, NARROWEST, TALLEST = 448, 200, 1600
"""Pixels: the longest side at which a picture is shown; the least width of a narrow one, if it is no higher than the last."""

CRISP = 64
"""Pictures of no longer side are enlarged by repeating their pixels."""

GAP, LINE = 12, 24
INK, PALE, PAPER = (24, 24, 28), (96, 96, 104), (255, 255, 255)


def colours(heat: F32) -> U8:
    """Return sRGB uint8 (…, 3) for heat in [0, 1]: violet, red, orange to pale yellow, in even steps of lightness.

    Lightness rises in a straight line in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020), so that
    the order can be seen in grey and by the colour-blind too.
    """
    t = np.clip(np.asarray(heat, np.float64), 0, 1)
    hue = np.deg2rad(-60 + 165 * t)
    chroma = 0.05 + 0.12 * np.sin(np.pi * np.clip(0.15 + 0.7 * t, 0, 1))
    return _srgb(0.30 + 0.65 * t, chroma * np.cos(hue), chroma * np.sin(hue))


def _srgb(light: Any, a: Any, b: Any) -> U8:
    """Return sRGB of OKLab; what no screen can show is cut."""
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((curved * 255).round(), np.uint8)


def overlay(picture: U8, heat: F32) -> U8:
    """Return the picture uint8 (h, w, 3) in grey with the heat (h, w) laid over it: the warmer, the more it covers."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    cover = (0.8 * np.sqrt(np.clip(heat, 0, 1)))[..., None]
    return np.asarray((grey[..., None] * (1 - cover) + colours(heat) * cover).round(), np.uint8)


def drawn(picture: U8, heat: F32, words: Sequence[str], examples: Sequence[tuple[U8, str]] = ()) -> Image.Image:
    """Return one image: the picture, its overlay, a scale, lines of words, and examples (uint8 (h, w, 3), caption) below.

    picture: uint8 (h, w, 3); heat: float32 (h, w) in [0, 1]. Both pictures fill the width; words are broken to fit it.
    """
    left, right = (_filling(pixels) for pixels in (picture, overlay(picture, heat)))
    wide = max(2 * left.width + 3 * GAP, NARROWEST + 2 * GAP)
    lines = [(line, *style) for words_, style in _styled(words) for line in _broken(words_, style[0], wide - 2 * GAP)]
    small = _fitting([(shown(image, 120), caption) for image, caption in examples], wide)
    below = GAP + left.height + GAP + 10 + LINE + LINE * len(lines)
    tall = below + (LINE + 120 + 2 * LINE if small else 0) + GAP
    page = Image.new("RGB", (wide, tall), PAPER)
    page.paste(left, (GAP, GAP))
    page.paste(right, (2 * GAP + left.width, GAP))
    pen = ImageDraw.Draw(page)
    _scale(page, pen, 2 * GAP + left.width, 2 * GAP + left.height, right.width)
    for number, (line, size, ink) in enumerate(lines):
        pen.text((GAP, 2 * GAP + left.height + 10 + LINE * (number + 1)), line, ink, font(line, size))
    _strip(page, pen, small, below)
    return page


def _filling(pixels: U8) -> Image.Image:
    """Return a picture with a longest side of `SIDE`; a narrow one is wider, as long as it is no higher than `TALLEST`."""
    height, width = pixels.shape[:2]
    factor = min(max(SIDE / max(height, width), NARROWEST / width), TALLEST / height)
    crisp = max(height, width) <= CRISP
    factor = max(1, int(factor)) if crisp else factor
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if crisp else Image.Resampling.LANCZOS)


def _styled(words: Sequence[str]) -> list[tuple[str, tuple[int, tuple[int, int, int]]]]:
    """Return each line of words, without what would turn it, with its size and colour: the first is the answer."""
    return [(plain(line), (18, INK) if number == 0 else (15, PALE)) for number, line in enumerate(words)]


def _broken(line: str, size: int, width: int) -> list[str]:
    """Return a line as lines of at most `width` pixels, broken between words, and within one that is too long."""
    lines = [""]
    for word in line.split(" "):
        tried = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(tried, size) > width:
            lines.append(tried := word)
        while _width(tried, size) > width and len(tried) > 1:
            most = next(n for n in range(len(tried) - 1, 0, -1) if n == 1 or _width(tried[:n], size) <= width)
            lines[-1], tried = tried[:most], tried[most:]
            lines.append(tried)
        lines[-1] = tried
    return lines


def _fitting(small: list[tuple[Image.Image, str]], wide: int) -> list[tuple[Image.Image, str]]:
    """Return as many of the examples as there is room for in one row."""
    ends = accumulate(_cell(image) + GAP for image, _ in small)
    return [one for one, end in zip(small, ends, strict=True) if GAP + end <= wide]


def _scale(page: Image.Image, pen: ImageDraw.ImageDraw, left: int, top: int, width: int) -> None:
    """Draw the colours from cold to warm below the overlay."""
    bar = overlay(np.full((10, width, 3), 128, np.uint8), np.tile(np.linspace(0, 1, width, dtype=np.float32), (10, 1)))
    page.paste(Image.fromarray(bar), (left, top))
    pen.text((left, top + 12), "nothing", PALE, font("", 13))
    pen.text((left + width, top + 12), "most", PALE, font("", 13), anchor="ra")


def _strip(page: Image.Image, pen: ImageDraw.ImageDraw, small: Sequence[tuple[Image.Image, str]], top: int) -> None:
    if not small:
        return
    pen.text((GAP, top), "nearest training pictures", PALE, font("", 15))
    left = GAP
    for image, caption in small:
        page.paste(image, (left, top + LINE))
        for number, line in enumerate(plain(caption).split("\n")):
            pen.text((left, top + LINE + 124 + 18 * number), _cut(line, _cell(image)), INK, font(line, 13))
        left += _cell(image) + GAP


def _cell(image: Image.Image) -> int:
    return max(image.width, 96)


def shown(pixels: U8, side: int) -> Image.Image:
    """Return pixels uint8 (h, w, 3) with a longest side of `side` or little less: enlarged by whole factors, or shrunk."""
    image, longest = Image.fromarray(pixels), max(pixels.shape[:2])
    factor = side // longest if longest <= side else side / longest
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS)


def _width(line: str, size: int) -> int:
    return int(font(line, size).getlength(line)) + 1


def _cut(line: str, width: int) -> str:
    """Return the line, shortened where it is wider than `width` pixels."""
    if _width(line, 13) <= width:
        return line
    while line and _width(line + "...", 13) > width:
        line = line[:-1]
    return line + "..."
