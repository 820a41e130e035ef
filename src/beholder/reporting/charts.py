"""Figures of the report: curves as SVG that follows light and dark, pictures and heat maps as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from beholder.base.arrays import F32, I64, U8

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 26, 32, 46
GOOD, WRONG = (47, 111, 200), (214, 96, 44)
"""Colours of right and wrong cells in a heat map; readable on white and on near-black."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One curve: its name, its style class in the report ("first" solid, "second" dashed, "third" dotted) and its points.

    spans: (x, low, high) of intervals, drawn upright, or as a `band`; dots: points only, no line between them
    """

    name: str
    style: str
    points: Sequence[Point]
    spans: Sequence[tuple[float, float, float]] = ()
    dots: bool = False
    band: bool = False


@dataclass(frozen=True)
class Axis:
    """What an axis is called, what it must show at least (None: the points alone decide), and how its numbers are written.

    doubled: above 0, values are doublings of so many: 3 is written as eight times that
    """

    label: str
    low: float | None = None
    high: float | None = None
    percent: bool = False
    whole: bool = False
    doubled: float = 0.0

    def span(self, values: Sequence[float]) -> tuple[float, float]:
        """Return the least and the greatest of the values and of what must be shown."""
        held = [*values, *(v for v in (self.low, self.high) if v is not None)]
        return min(held), max(held)

    def text(self, value: float) -> str:
        """Return a tick's number."""
        if self.doubled:
            return f"{self.doubled * 2**value:,.0f}"
        return f"{100 * value:g}%" if self.percent else f"{value:g}"


@dataclass(frozen=True)
class Frame:
    """Where values lie in the picture: x from `left` to `right`, y from `low` to `high`."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """Return the place of a value from the left, in units of the picture."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.left) / max(self.right - self.left, 1e-9)

    def y(self, value: float) -> float:
        """Return the place of a value from the top."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.low) / max(self.high - self.low, 1e-9)


def series(history: Sequence[Mapping[str, object]], key: str, name: str, style: str) -> Series:
    """Return the curve of `key` over epochs; rows where it is absent or not finite are left out, at most 400 points kept."""
    points = []
    for number, row in enumerate(history, start=1):
        epoch, value = row.get("epoch", number), row.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value) and isinstance(epoch, (int, float)):
            points.append((float(epoch), float(value)))
    return Series(name, style, points[:: max(1, math.ceil(len(points) / 400))])


def chart(alt: str, curves: Sequence[Series], x: Axis, y: Axis, *, diagonal: bool = False) -> Markup | None:
    """Return curves as one SVG with `alt` as its text alternative; None where no curve has two points.

    diagonal: also draw where y equals x
    """
    drawn = [curve for curve in curves if len(curve.points) > 1]
    if not drawn:
        return None
    heights = [value for c in drawn for value in (*(p[1] for p in c.points), *(v for s in c.spans for v in s[1:]))]
    (left, right), (low, high) = x.span([p[0] for c in drawn for p in c.points]), y.span(heights)
    y_ticks = ticks(low, high, 5)
    frame = Frame(left, right, min(y_ticks[0], low), max(y_ticks[-1], high))
    inside = [tick for tick in ticks(left, right, 6, whole=x.whole) if left - 1e-9 <= tick <= right + 1e-9]
    parts = [*_axes(frame, x, y, inside, y_ticks)]
    if diagonal:
        a, b = max(left, frame.low), min(right, frame.high)
        ends = f'x1="{frame.x(a):.1f}" y1="{frame.y(a):.1f}" x2="{frame.x(b):.1f}" y2="{frame.y(b):.1f}"'
        parts.append(f'<line class="ideal" {ends}/>')
    for curve in drawn:
        parts += _curve(frame, curve)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(alt)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _axes(frame: Frame, x: Axis, y: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> Iterator[str]:
    for tick in y_ticks:
        at = frame.y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 5:.1f}" text-anchor="end">{y.text(tick)}</text>'
    for tick in x_ticks:
        yield f'<text x="{frame.x(tick):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x.text(tick)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x.label)}</text>'
    if y.label:
        yield f'<text x="4" y="15">{escape(y.label)}</text>'


def _curve(frame: Frame, curve: Series) -> Iterator[str]:
    style = escape(curve.style)
    if curve.band:
        ends = [(at, low) for at, low, _ in curve.spans] + [(at, high) for at, _, high in reversed(curve.spans)]
        yield f'<polygon class="band" points="{" ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in ends)}"/>'
    for at, low, high in () if curve.band else curve.spans:
        where = f'x1="{frame.x(at):.1f}" x2="{frame.x(at):.1f}" y1="{frame.y(low):.1f}" y2="{frame.y(high):.1f}"'
        yield f'<line class="span {style}" {where}/>'
    if not curve.dots:
        points = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in curve.points)
        yield f'<polyline class="{style}" points="{points}"/>'
    for a, b in curve.points if curve.dots else curve.points[-1:]:
        yield f'<circle class="{style}" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="4"/>'


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


def heat_map(confusion: I64, *, largest: int = 800) -> str:
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


def overlay(heat: F32, *, side: int = 160) -> str:
    """Return a heat map float32 (H, W) in 0..1 as a PNG data URI to lie over its picture: clear at 0, orange to red at 1."""
    strength = np.clip(np.nan_to_num(np.asarray(heat, np.float64)), 0, 1)
    pixels = np.zeros((*strength.shape, 4), np.uint8)
    pixels[..., 0] = 255
    pixels[..., 1] = np.round(200 * (1 - strength))
    pixels[..., 3] = np.round(190 * strength)
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return _uri(image, "png")


def thumbnail(picture: U8, *, side: int = 160) -> str:
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
