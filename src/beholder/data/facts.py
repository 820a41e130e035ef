"""What an audit needs to know of each picture's file and pixels: one pass, one row a picture, remembered by digest.

A picture is decoded upright in its own size; where its longer side exceeds `SIDE` it is first reduced by a whole factor with a
box filter, as exposure and sharpness do not need more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.base import events, memo
from beholder.base.errors import PictureError
from beholder.base.files import cache_folder, sha256
from beholder.base.records import Pictures
from beholder.data import image
from beholder.data.align import SIZE
from beholder.data.image.apart import decoders
from beholder.data.image.fit import resized
from beholder.data.image.refusal import PASSING
from beholder.data.likeness import LENGTH, perceptual
from beholder.data.limits import LIMITS, Limits

SIDE = 512
"""Longer side in pixels up to which a picture is measured as it is."""

CHUNK = 64
"""Pictures that a thread takes at a time."""

STACK = 1 << 20
"""Bytes of pixels from which pictures of one size are no longer collected, but measured."""

LINES = 32
"""Sharpness is measured on so many rows and columns, evenly spread: more would change it little."""

VERSION = 4
"""Counts the versions of what is measured: raise it when the same picture would get another row."""

Facts = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)

FACTS = np.dtype(
    [
        ("digest", "u1", 32),  # SHA-256 of the file's bytes
        ("error", "S20"),  # reason code; b"" where the picture could be decoded
        ("bytes", "i8"),
        ("format", "S12"),  # by the first bytes, such as b"JPEG"; b"array" for a picture in memory
        ("height", "i4"),  # pixels, upright
        ("width", "i4"),
        ("channels", "u1"),  # 1 grey, 3 colour, 4 with transparency, as stored
        ("pixels", "u1", 16),  # the first half of the SHA-256 of the upright RGB pixels and their shape
        ("hash", "i1", LENGTH),  # perceptual: see `beholder.data.likeness`; all 0 where it shows nothing
        ("light", "f4", len(QUANTILES)),  # quantiles of the luma, in 0..1
        ("spread", "f4"),  # standard deviation of the luma, in 0..1
        ("mode", "f4"),  # share of the pixels within 4 levels of the commonest luma
        ("blur", "f4"),  # 0 sharp, 1 without any detail (Crété-Roffet et al. 2007)
        ("fine", "f4"),  # share of the gradient's energy beyond half of the highest frequency
        ("tint", "f4"),  # 99th percentile of the largest less the smallest of R, G, B, in 0..1
        ("border", "f4", 2),  # mean and standard deviation of the luma on the outermost ring, in 0..1
        ("corners", "f4", 8),  # mean and standard deviation of the luma in each corner, an eighth of the shorter side
    ]
)
"""One picture. What was not measured, as the picture is unreadable, is 0."""


class Thumbnails:
    """Thumbnails by digest, uint8 (64, 64): at most `MOST`, the first that come, 4,096 bytes and some 200 of keys each.

    What the facts are measured of is decoded anyway; `twins` need not open again what is held here.
    """

    MOST = 1 << 14

    def __init__(self) -> None:
        self.held: dict[bytes, Bytes] = {}

    def add(self, digest: bytes, luma: Bytes) -> None:
        """Hold the thumbnail of a luma (H, W), unless there are `MOST` of them."""
        if len(self.held) < self.MOST:
            self.held[digest] = thumbnail(luma)


def facts(
    pictures: Pictures, *, root: str | Path | None = None, limits: Limits = LIMITS, small: Thumbnails | None = None
) -> Facts:
    """Return (N,) of dtype `FACTS`: one row a picture, in the order of `pictures`, which must have digests.

    root: the cache folder (the user's by default), where rows are remembered; small: takes the thumbnails of those opened
    Shows progress. Raises nothing of its own.
    """
    assert pictures.digests is not None
    path = cache_folder(root) / "facts" / f"{sha256(os.fsencode(f'{VERSION} {pictures.store.name}'))[:32]}.npy"
    known = _remembered(path)
    rows = np.zeros(len(pictures), FACTS)
    rows["digest"] = pictures.digests
    digests = [row.tobytes() for row in pictures.digests]
    todo = [i for i, digest in enumerate(digests) if digest not in known]
    for i, digest in enumerate(digests):
        if digest in known:
            rows[i] = known[digest]
    for i, row in zip(todo, _measured(pictures, todo, limits, small), strict=True):
        rows[i] = row
        rows[i]["digest"] = pictures.digests[i]
    if todo:
        lasting = ~np.isin(rows["error"], [code.encode() for code in PASSING])
        memo.keep_table(path, rows[lasting], what="facts of pictures")
    return rows


def suffix_of(key: str) -> str:
    """Return the extension of a picture's name in lower case without its dot, or "".

    >>> suffix_of("rust/A.JPEG")
    'jpeg'
    """
    name = key.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem else ""


def _measured(pictures: Pictures, rows: list[int], limits: Limits, small: Thumbnails | None) -> Iterator[Facts]:
    chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
    done = 0
    with decoders() as (pool, _):
        for found in pool.map(lambda chunk: measure(pictures, chunk, limits, small), chunks):
            done += len(found)
            events.progress("looking at the pictures", done, len(rows))
            yield from found


def measure(pictures: Pictures, rows: Sequence[int], limits: Limits = LIMITS, small: Thumbnails | None = None) -> Facts:
    """Return (len(rows),) of dtype `FACTS`, `digest` not filled; `error` is set where a picture cannot be read.

    small: takes their thumbnails. Small pictures of one size are measured together, for they cost less to measure than to
    call for.
    """
    table = np.zeros(len(rows), FACTS)
    levels, tints = (np.zeros((len(rows), 256), np.int64) for _ in range(2))
    waiting: dict[tuple[int, ...], list[tuple[int, Bytes]]] = {}

    def count(some: list[tuple[int, Bytes]]) -> None:
        places = np.array([at for at, _ in some])
        pixels = some[0][1][None] if len(some) == 1 else np.stack([one for _, one in some])
        luma = grey(pixels)
        levels[places], tints[places] = _histogram(luma), _histogram(_tints(pixels))
        for name, values in _shapes(luma).items():
            table[name][places] = values
        for at, plane in zip(places.tolist(), luma, strict=True):
            if small is not None and pictures.digests is not None:
                small.add(pictures.digests[rows[at]].tobytes(), plane)
        some.clear()

    for at, index in enumerate(rows):
        try:
            pixels = _looked_at(pictures, index, table[at : at + 1], limits)
        except PictureError as error:
            table["error"][at] = error.code.encode()
            continue
        same = waiting.setdefault(pixels.shape, [])
        same.append((at, pixels))
        if len(same) * pixels.size >= STACK:
            count(same)
    for same in filter(None, waiting.values()):
        count(same)
    read = levels.any(axis=1)
    for name, values in _lights(levels[read], tints[read]).items():
        table[name][read] = values
    return table


def _looked_at(pictures: Pictures, index: int, row: Facts, limits: Limits) -> Bytes:
    """Fill what the file says into `row` (1,) and return the pixels to be measured, uint8 (H, W, 3)."""
    data = pictures.store.read(pictures.keys[index])
    row["bytes"] = len(data) if isinstance(data, bytes) else data.nbytes
    head = image.header(data, limits=limits) if isinstance(data, bytes) else image.header_of_array(data)
    row["format"], row["height"], row["width"], row["channels"] = head.format, head.height, head.width, head.channels
    pixels = image.decode(data, channels=3, limits=limits)
    code = hashlib.sha256(str(pixels.shape).encode())
    code.update(np.ascontiguousarray(pixels).data)
    row["pixels"] = np.frombuffer(code.digest()[:16], np.uint8)
    return _bounded(pixels)


def seen(data: bytes | npt.NDArray[np.generic], limits: Limits = LIMITS) -> Bytes:
    """Return the thumbnail of a picture that `Thumbnails` would hold, uint8 (64, 64). Raises `PictureError`."""
    return thumbnail(grey(_bounded(image.decode(data, channels=3, limits=limits))[None])[0])


def thumbnail(luma: Bytes) -> Bytes:
    """Return a luma (H, W) squeezed to the size in which twins are compared, uint8 (64, 64)."""
    return np.array(resized(luma, SIZE, SIZE))


def _bounded(pixels: Bytes) -> Bytes:
    """Return pixels (H, W, 3) with no side longer than `SIDE`."""
    factor = -(-max(pixels.shape[:2]) // SIDE)
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def grey(pixels: Bytes) -> Bytes:
    """Return the luma of B pictures: uint8 (B, H, W, 3) → (B, H, W)."""
    count, height, width, _ = pixels.shape
    return np.asarray(Image.fromarray(pixels.reshape(count * height, width, 3)).convert("L")).reshape(count, height, width)


def describe(pixels: Bytes) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields of `FACTS` that follow from the pixels uint8 (B, H, W, 3) of B pictures: name → (B,) or (B, n)."""
    luma = grey(pixels)
    return _shapes(luma) | _lights(_histogram(luma), _histogram(_tints(pixels)))


def _shapes(luma: Bytes) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields for which it counts where what is, of luma (B, H, W)."""
    ring = np.concatenate([luma[:, 0], luma[:, -1], luma[:, 1:-1, 0], luma[:, 1:-1, -1]], axis=1) / 255
    blur, fine = sharpness(luma)
    border = np.stack([ring.mean(axis=1), ring.std(axis=1)], axis=1)
    return {"hash": perceptual(luma), "blur": blur, "fine": fine, "border": border, "corners": _corners(luma)}


def _tints(pixels: Bytes) -> Bytes:
    """Return the largest less the smallest of R, G, B: (B, H, W, 3) → (B, H, W)."""
    red, green, blue = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return np.asarray(np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue))


def _lights(levels: I64, tints: I64) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields that follow from how often each luma and each tint occurs, int64 (B, 256) each."""
    n = levels.sum(axis=1)
    total, colours = np.cumsum(levels, axis=1), np.cumsum(tints, axis=1)
    values = np.arange(256)
    mean = levels @ values / n
    near = np.clip(levels.argmax(axis=1)[:, None] + np.array([4, -5]), -1, 255)
    padded = np.concatenate([total, np.zeros((len(n), 1), total.dtype)], axis=1)  # [-1] is 0
    commonest = np.take_along_axis(padded, near, axis=1)
    return {
        "light": np.stack([(total >= q * n[:, None]).argmax(axis=1) / 255 for q in QUANTILES], axis=1),
        "spread": np.sqrt(np.maximum(levels @ values**2 / n - mean**2, 0)) / 255,
        "mode": (commonest[:, 0] - commonest[:, 1]) / n,
        "tint": (colours >= 0.99 * n[:, None]).argmax(axis=1) / 255,
    }


def _corners(luma: Bytes) -> F64:
    """Return (B, 8) in 0..1 of luma uint8 (B, H, W): upper left, upper right, lower left, lower right."""
    side = max(1, min(luma.shape[1:]) // 8)
    found = []
    for rows in (slice(None, side), slice(-side, None)):
        for columns in (slice(None, side), slice(-side, None)):
            found += [luma[:, rows, columns].mean(axis=(1, 2)), luma[:, rows, columns].std(axis=(1, 2))]
    return np.stack(found, axis=1) / 255


def _histogram(values: Bytes) -> npt.NDArray[np.int64]:
    """Return how often each of 256 values occurs in each of B pictures: values uint8 (B, H, W) → int64 (B, 256)."""
    count = len(values)
    if values[0].size > 4096:  # Pillow counts a large picture in a third of the time
        return np.array([Image.fromarray(one).histogram() for one in values], np.int64)
    shifted = values.reshape(count, -1) + 256 * np.arange(count)[:, None]
    return np.bincount(shifted.ravel(), minlength=256 * count).reshape(count, 256).astype(np.int64)


def sharpness(luma: Bytes) -> tuple[F64, F64]:
    """Return (blur, fine) of uint8 (B, H, W), each (B,) in [0, 1]: the larger one of both directions, on `LINES` lines in each.

    blur: how little of the gradient is lost when the picture is blurred again; 1 = nothing, so it was blurred, or has no detail
    at all. Source: Crété-Roffet et al., The blur effect, SPIE 2007, with its box filter of 11 pixels.
    fine: share of the gradient's energy that averaging neighbouring slopes takes away: what is finer than two pixels.
    """
    _, height, width = luma.shape
    rows, columns = luma[:, :: -(-height // LINES)], luma[:, :, :: -(-width // LINES)].swapaxes(1, 2)
    pairs = [_sharpness(np.ascontiguousarray(lines, np.int16)) for lines in (rows, columns)]
    return np.maximum(pairs[0][0], pairs[1][0]), np.maximum(pairs[0][1], pairs[1][1])


def _sharpness(plane: npt.NDArray[np.int16]) -> tuple[F64, F64]:
    """Return (blur, fine) along the last axis of int16 (B, H, W)."""
    count, height, length = plane.shape
    if length < 4:
        return np.ones(count), np.zeros(count)
    width = min(11, length - 2) | 1
    half = width // 2
    wide = np.empty((count, height, length + 2 * half), np.int16)  # as far as means reach beyond the edge
    wide[:, :, half : half + length] = plane
    wide[:, :, :half], wide[:, :, half + length :] = plane[:, :, :1], plane[:, :, -1:]
    slope = plane[:, :, 1:] - plane[:, :, :-1]
    steep = np.abs(slope)
    # Sums of `width` pixels instead of their means, so that everything stays in whole numbers: two neighbouring sums differ by
    # the pixel that comes in less the one that goes.
    kept = steep * np.int16(width) - np.abs(wide[:, :, width:] - wide[:, :, :-width])
    lost, energy = np.maximum(kept, 0).sum(axis=(1, 2), dtype=np.int64) / width, steep.sum(axis=(1, 2), dtype=np.int64)
    power = np.square(slope, dtype=np.int32).sum(axis=(1, 2), dtype=np.int64)
    finer = np.square(slope[:, :, 1:] - slope[:, :, :-1], dtype=np.int32).sum(axis=(1, 2), dtype=np.int64) / 4
    blur = 1 - np.divide(lost, energy, out=np.zeros(count), where=energy > 0)
    return blur, np.minimum(np.divide(finer, power, out=np.zeros(count), where=power > 0), 1.0)


def _remembered(path: Path) -> dict[bytes, Facts]:
    table = memo.table(path)
    if table is None or table.dtype != FACTS or table.ndim != 1:
        return {}
    return {row["digest"].tobytes(): row for row in table}
