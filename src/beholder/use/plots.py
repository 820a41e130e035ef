"""Figures of the report: curves as SVG that follows light and dark, pictures and heat maps as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from PIL import Image

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 44
GOOD, WRONG = (47, 111, 200), (214, 96, 44)
"""Colours of right and wrong cells in a heat map; readable on white and on near-black."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One curve: its name, its style class in the report ("first" solid, "second" dashed) and its points."""

    name: str
    style: str
    points: Sequence[Point]


def series(history: Sequence[Mapping[str, object]], key: str, name: str, style: str) -> Series:
    """Return the curve of `key` over epochs; rows where it is absent or not finite are left out, at most 400 points kept."""
    points = []
    for number, row in enumerate(history, start=1):
        epoch, value = row.get("epoch", number), row.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value) and isinstance(epoch, (int, float)):
            points.append((float(epoch), float(value)))
    return Series(name, style, points[:: max(1, math.ceil(len(points) / 400))])


def chart(title: str, curves: Sequence[Series]) -> Markup | None:
    """Return curves over epochs as one SVG with a text alternative; None where no curve has two points."""
    drawn = [curve for curve in curves if len(curve.points) > 1]
    if not drawn:
        return None
    xs = [x for curve in drawn for x, _ in curve.points]
    ys = [y for curve in drawn for _, y in curve.points]
    x_ticks, y_ticks = ticks(min(xs), max(xs), 6, whole=True), ticks(min(ys), max(ys), 5)
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def x_at(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - x_low) / max(x_high - x_low, 1e-9)

    def y_at(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_low) / (y_high - y_low)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_at(y):.1f}" y2="{y_at(y):.1f}"/>' for y in y_ticks]
    parts += [f'<text x="{LEFT - 8}" y="{y_at(y) + 5:.1f}" text-anchor="end">{y:g}</text>' for y in y_ticks]
    inside = [x for x in x_ticks if x_low <= x <= x_high]
    parts += [f'<text x="{x_at(x):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>' for x in inside]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    for curve in drawn:
        points = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in curve.points)
        x, y = curve.points[-1]
        parts.append(f'<polyline class="{escape(curve.style)}" points="{points}"/>')
        parts.append(f'<circle class="{escape(curve.style)}" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="4"/>')
    told = "; ".join(f"{c.name} from {c.points[0][1]:.3g} to {c.points[-1][1]:.3g}" for c in drawn)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title} by epoch: {told}")}">'
    return Markup(head + "".join(parts) + "</svg>")


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return at most about `most` round numbers that span low..high; at least two.

    >>> ticks(0.13, 0.92, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = max(high - low, abs(high) * 0.02, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    if whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def heat_map(confusion: npt.NDArray[np.int64], *, largest: int = 800) -> str:
    """Return a confusion matrix int64 (K, K) as a PNG data URI, one pixel a cell, at most `largest` on a side.

    The strength of a cell is the cube root of its share of the row, so that rare confusions show; right is blue, wrong orange.
    """
    shares = np.cbrt(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1))
    block = math.ceil(len(shares) / largest)
    padded = np.pad(shares, (0, -len(shares) % block))
    side = len(padded) // block
    strength = padded.reshape(side, block, side, block).max(axis=(1, 3))
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = WRONG
    pixels[np.arange(side), np.arange(side), :3] = GOOD
    pixels[..., 3] = np.round(255 * strength)
    return _uri(Image.fromarray(pixels), "png")


def thumbnail(picture: npt.NDArray[np.uint8], *, side: int = 160) -> str:
    """Return a picture uint8 (C, H, W), C = 1 or 3, as a data URI at most `side` pixels wide and high."""
    pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((side, side))
    # JPEG blurs small pictures and saves little on them.
    return _uri(image, "png" if max(image.size) <= 64 else "jpeg")


def _uri(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
