"""What the pictures are like, and the pixel policy that follows from it, with its reason."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.recipe import DataRecipe
from beholder.base.records import Pictures, PixelPolicy
from beholder.data import image
from beholder.data.image.apart import decoders
from beholder.data.limits import LIMITS, Limits

SMALL = 96
"""Short side up to which pictures keep their size, and the size of larger ones where no net asks for another."""

_NEAR = 1.15
_LONG = 1.6
_LOOKED_AT = 128
_TINT = 12
_COLOUR = 32


@dataclass(frozen=True)
class Survey:
    """Figures of a sample of pictures.

    n: pictures in all; sampled: of which looked at; bad: of which unreadable
    height, width: medians, upright, in pixels; short: median of the shorter side; same: True where all have one size
    aspect_low, aspect_high: 5th and 95th percentile of width / height
    grey: True where no colour was seen, whatever the files' modes; formats: name → how many
    """

    n: int
    sampled: int
    bad: int
    height: int
    width: int
    short: int
    same: bool
    aspect_low: float
    aspect_high: float
    grey: bool
    formats: dict[str, int]


def survey(pictures: Pictures, *, sample: int = 512, seed: int = 0, limits: Limits = LIMITS) -> Survey:
    """Return what a seeded sample of the pictures is like, from their headers; a few dozen are decoded to look for colour.

    Raises `DataError` (unreadable) where none of the sample can be read.
    """
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:sample]
    keys = [pictures.keys[i] for i in chosen.tolist()]
    with decoders() as (pool, _):
        rows = list(pool.map(lambda key: _header(pictures, key, limits), keys))
        found = [(key, row) for key, row in zip(keys, rows, strict=True) if isinstance(row, image.Header)]
        if not found:
            raise _unreadable(pictures, keys, [row for row in rows if isinstance(row, PictureError)])
        looked = [key for key, _ in found[:_LOOKED_AT]]
        grey = all(row.channels == 1 for _, row in found) or _grey(
            list(pool.map(lambda k: _colour_of(pictures, k, limits), looked))
        )
    heights = np.array([row.height for _, row in found])
    widths = np.array([row.width for _, row in found])
    low, high = np.quantile(widths / heights, (0.05, 0.95))
    return Survey(
        n=len(pictures),
        sampled=len(keys),
        bad=len(keys) - len(found),
        height=round(float(np.median(heights))),
        width=round(float(np.median(widths))),
        short=round(float(np.median(np.minimum(heights, widths)))),
        same=len({(row.height, row.width) for _, row in found}) == 1,
        aspect_low=float(low),
        aspect_high=float(high),
        grey=grey,
        formats=dict(Counter(row.format for _, row in found).most_common()),
    )


def _header(pictures: Pictures, key: str, limits: Limits) -> image.Header | PictureError:
    try:
        data = pictures.store.read(key)
        return image.header(data, limits=limits) if isinstance(data, bytes) else image.header_of_array(data)
    except PictureError as error:
        return error


def _colour_of(pictures: Pictures, key: str, limits: Limits) -> tuple[float, float]:
    """Return how far R, G and B lie apart, in 0..255: the 90th and 99th percentile over the pixels of a picture."""
    try:
        pixels = image.load(pictures.store.read(key), PixelPolicy(64, 64, 3), limits=limits).astype(np.int16)
    except PictureError:
        return 0.0, 0.0
    ninetieth, last = np.quantile(pixels.max(axis=0) - pixels.min(axis=0), (0.9, 0.99))
    return float(ninetieth), float(last)


def _grey(colours: list[tuple[float, float]]) -> bool:
    """Return True where no picture is coloured and at most one in twenty has more than the tint that scanners and JPEG make.

    Sets of x-rays and MRI slices are full of grey pictures stored as RGB, a few of them sepia or with a coloured mark.
    """
    tinted = sum(last > _TINT for _, last in colours)
    return 20 * tinted <= len(colours) and all(ninetieth <= _COLOUR for ninetieth, _ in colours)


def _unreadable(pictures: Pictures, keys: list[str], errors: list[PictureError]) -> DataError:
    why = "; ".join(f"{key}: {error.message}" for key, error in list(zip(keys, errors, strict=True))[:3])
    return DataError(
        f"none of the {len(keys):,} pictures looked at in {pictures.store.name} can be read: {why}",
        code="unreadable",
        hint="open one of them with another program, and fetch them again if it cannot",
    )


def choose_policy(
    survey: Survey, recipe: DataRecipe, *, size: tuple[int, int] | None = None, channels: int | None = None
) -> tuple[PixelPolicy, str]:
    """Return the pixel policy and its reason.

    recipe: its size, fit and channels come first where they are set; then what the net asks: size (height, width), channels;
    then the pictures themselves. Raises `UsageError` (bad-value) for a background that is no colour.
    """
    (height, width), why_size = _size(survey, recipe, size)
    fit, why_fit = _fit(survey, recipe, height, width)
    if recipe.channels or channels:
        depth = recipe.channels or channels or 3
        why_depth = f"{_DEPTHS[depth]}, as the {'recipe' if recipe.channels else 'net'} asks"
    else:
        depth = 1 if survey.grey else 3
        why_depth = "grey, for no colour was seen" if survey.grey else "colour"
    policy = PixelPolicy(height, width, depth, fit, _colour(recipe.background))
    return policy, f"pictures become {width} × {height} pixels, {why_size}; {why_depth}; {fit}: {why_fit}"


_DEPTHS = {1: "grey", 3: "colour"}


def _size(survey: Survey, recipe: DataRecipe, asked: tuple[int, int] | None) -> tuple[tuple[int, int], str]:
    native = f"{survey.width} × {survey.height}"
    if recipe.size:
        return (recipe.size, recipe.size), f"as the recipe asks (they are {native})"
    if asked:
        return asked, f"as the net asks (they are {native})"
    if survey.short <= SMALL:
        if survey.same and max(survey.height, survey.width) <= SMALL:
            return (survey.height, survey.width), "their own size"
        side = max(4 * round(survey.short / 4), 8)
        return (side, side), f"near their own size (the median is {native})"
    return (SMALL, SMALL), f"enough to tell most things apart at little cost (they are {native}; --set data.size=N for more)"


def _fit(survey: Survey, recipe: DataRecipe, height: int, width: int) -> tuple[str, str]:
    """Choose between squash and pad; crop, which cuts something off, is only ever asked for."""
    if recipe.fit != "auto":
        return recipe.fit, "as the recipe asks"
    ratios = [aspect / (width / height) for aspect in (survey.aspect_low, survey.aspect_high)]
    off = max(math.exp(abs(math.log(ratio))) for ratio in ratios)
    if off <= _NEAR:
        return "squash", "they have that shape or nearly"
    if off <= _LONG:
        return "squash", f"stretched by {off:.2f} at most, and nothing is cut off"
    return "pad", f"width / height is {survey.aspect_low:.2f} to {survey.aspect_high:.2f}; shapes stay true, nothing is cut off"


def _colour(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise UsageError(f"'{text}' is no colour", code="bad-value", hint="for example data.background=#ffffff") from error
    return red, green, blue
