"""Survey of a source, and the pixel policy that follows from it, with its reason."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

from beholder import image
from beholder.base.arrays import Floating
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.fields import DataRecipe
from beholder.base.records import Pictures, PixelPolicy
from beholder.duplicates.appearance import bounded, describe
from beholder.duplicates.facts import FACTS, Facts, recalled, unseen
from beholder.image.sandbox import decoders
from beholder.sources import depths
from beholder.sources.held import Held

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
    bits: that the values of deep pictures use, as `PixelPolicy.bits`
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
    bits: int = 0


def survey(pictures: Pictures, *, sample: int = 512, seed: int = 0, held: Held | None = None) -> Survey:
    """Return what a seeded sample of the pictures is like, and of a few dozen whether they have colour.

    What `facts` remembers of them is taken; of others the headers are read, and those few decoded. held: keeps what is read
    Raises `DataError` (unreadable) where none of the sample can be read.
    """
    chosen = pictures.take(np.random.default_rng(seed).permutation(len(pictures))[:sample])
    bits = depths.bits(pictures)
    known = recalled(chosen) if chosen.digests is not None else np.zeros(len(chosen), FACTS)

    def look(at: int) -> Facts:
        row = known[at : at + 1]
        return _read(chosen, at, row, bits, held) if unseen(row)[0] else row

    with decoders() as (pool, _):
        rows = np.concatenate([known[:0], *pool.map(look, range(len(chosen)))])
    found = rows[rows["height"] > 0]
    if not len(found):
        raise _unreadable(chosen, rows)
    heights, widths = found["height"], found["width"]
    low, high = np.quantile(widths / heights, (0.05, 0.95))
    return Survey(
        n=len(pictures),
        sampled=len(rows),
        bad=len(rows) - len(found),
        height=round(float(np.median(heights))),
        width=round(float(np.median(widths))),
        short=round(float(np.median(np.minimum(heights, widths)))),
        same=len(np.unique(np.stack([heights, widths]), axis=1).T) == 1,
        aspect_low=float(low),
        aspect_high=float(high),
        grey=bool((found["channels"] == 1).all()) or _grey(255 * rows["tint"][:_LOOKED_AT]),
        formats=dict(Counter(name.decode() for name in found["format"].tolist()).most_common()),
        bits=bits,
    )


def _read(pictures: Pictures, at: int, row: Facts, bits: int, held: Held | None) -> Facts:
    """Return the row (1,) of a picture that nothing is known of, filled with its header, of the first ones with the tint."""
    try:
        data = pictures.store.read(pictures.keys[at])
        if held is not None:
            held.keep(pictures.keys[at], data)
        head = image.header(data)
        row["format"], row["height"], row["width"], row["channels"] = head.format, head.height, head.width, head.channels
        if at < _LOOKED_AT:
            row["tint"] = describe(bounded(image.decode(data, channels=3, bits=bits))[None])["tint"]
    except PictureError as error:
        row["error"] = error.code.encode()
    return row


def _grey(tints: Floating) -> bool:
    """Return True where no picture is coloured and at most one in twenty has more than the tint that scanners and JPEG make.

    tints: (n, 2) in 0..255, `TINTS` of each. Sets of x-rays and MRI slices are full of grey pictures stored as RGB, a few of
    them sepia or with a coloured mark.
    """
    return bool(20 * np.count_nonzero(tints[:, 1] > _TINT) <= len(tints) and (tints[:, 0] <= _COLOUR).all())


def _unreadable(pictures: Pictures, rows: Facts) -> DataError:
    why = "; ".join(
        f"{key}: {code.decode()}" for key, code in list(zip(pictures.keys, rows["error"].tolist(), strict=True))[:3]
    )
    text = f"none of the {len(rows):,} pictures looked at in {pictures.store.name} can be read: {why}"
    hint = "open one of them with another program, and fetch them again if it cannot"
    return DataError(text, code="unreadable", hint=hint)


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
    policy = PixelPolicy(height, width, depth, fit, _colour(recipe.background), survey.bits)
    ranged = f"; {said}" if (said := depths.said(survey.bits)) else ""
    return policy, f"pictures become {width} × {height} pixels, {why_size}; {why_depth}{ranged}; {fit}: {why_fit}"


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
