"""What an audit needs to know of each picture's file and pixels: one pass, one row a picture, remembered by digest.

A picture is decoded upright in its own size; where its longer side exceeds `SIDE` it is first reduced by a whole factor with a
box filter, as exposure and sharpness do not need more.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.base import events
from beholder.base.errors import MachineError, PictureError
from beholder.base.files import cache_folder, sha256, write_atomic
from beholder.base.records import Pictures
from beholder.data import image
from beholder.data.limits import LIMITS, Limits

SIDE = 512
"""Longer side in pixels up to which a picture is measured as it is."""

VERSION = 1
"""Counts the versions of what is measured: raise it when the same picture would get another row."""

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
        ("pixels", "u1", 16),  # BLAKE2b of the upright RGB pixels and their shape
        ("hash", "u1", 32),  # perceptual: see `beholder.data.checks.twins`
        ("light", "f4", len(QUANTILES)),  # quantiles of the luma, in 0..1
        ("spread", "f4"),  # standard deviation of the luma, in 0..1
        ("mode", "f4"),  # share of the pixels within 4 levels of the commonest luma
        ("blur", "f4"),  # 0 sharp, 1 without any detail (Crété-Roffet et al. 2007)
        ("fine", "f4"),  # share of the gradient's energy beyond half of the highest frequency
        ("tint", "f4"),  # 99th percentile of the largest less the smallest of R, G, B, in 0..1
        ("border", "f4", 2),  # mean and standard deviation of the luma on the outermost ring, in 0..1
    ]
)
"""One picture. What was not measured, as the picture is unreadable, is 0."""

Facts = npt.NDArray[np.void]
Grey = npt.NDArray[np.uint8]


def facts(pictures: Pictures, *, root: str | Path | None = None, limits: Limits = LIMITS) -> Facts:
    """Return (N,) of dtype `FACTS`: one row a picture, in the order of `pictures`, which must have digests.

    root: the cache folder (the user's by default), where rows are remembered. Shows progress. Raises nothing of its own.
    """
    assert pictures.digests is not None
    path = cache_folder(root) / "facts" / f"{sha256(f'{VERSION} {pictures.store.name}'.encode())[:32]}.npy"
    known = _remembered(path)
    rows = np.zeros(len(pictures), FACTS)
    rows["digest"] = pictures.digests
    digests = [row.tobytes() for row in pictures.digests]
    todo = [i for i, digest in enumerate(digests) if digest not in known]
    for i, digest in enumerate(digests):
        if digest in known:
            rows[i] = known[digest]
    for i, row in zip(todo, _measured(pictures, todo, limits), strict=True):
        rows[i] = row
        rows[i]["digest"] = pictures.digests[i]
    if todo:
        _remember(path, rows)
    return rows


def suffix_of(key: str) -> str:
    """Return the extension of a picture's name in lower case without its dot, or "".

    >>> suffix_of("rust/A.JPEG")
    'jpeg'
    """
    return PurePosixPath(key).suffix.lower().removeprefix(".")


def _measured(pictures: Pictures, rows: list[int], limits: Limits) -> Iterator[Facts]:
    step = 64
    chunks = [rows[at : at + step] for at in range(0, len(rows), step)]
    done = 0
    with ThreadPoolExecutor() as pool:
        for found in pool.map(lambda chunk: [measure(pictures, i, limits) for i in chunk], chunks):
            done += len(found)
            events.progress("looking at the pictures", done, len(rows))
            yield from found


def measure(pictures: Pictures, index: int, limits: Limits = LIMITS) -> Facts:
    """Return the row of one picture, () of dtype `FACTS`; `error` is set where it cannot be read."""
    row = np.zeros((), FACTS)
    try:
        data = pictures.store.read(pictures.keys[index])
        row["bytes"] = len(data) if isinstance(data, bytes) else data.nbytes
        head = image.header(data, limits=limits) if isinstance(data, bytes) else image.header_of_array(data)
        row["format"], row["height"], row["width"], row["channels"] = head.format, head.height, head.width, head.channels
        describe(image.decode(data, channels=3, limits=limits), row)
    except PictureError as error:
        row["error"] = error.code
    return row


def describe(pixels: Grey, row: Facts) -> None:
    """Fill the fields of `row` that follow from the pixels, uint8 (H, W, 3)."""
    code = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    code.update(pixels.tobytes())
    row["pixels"] = np.frombuffer(code.digest(), np.uint8)
    factor = -(-max(pixels.shape[:2]) // SIDE)
    picture = Image.fromarray(pixels)
    picture = picture.reduce(factor) if factor > 1 else picture
    luma = np.asarray(picture.convert("L"))
    counts = np.bincount(luma.ravel(), minlength=256)
    total = np.cumsum(counts)
    row["light"] = np.searchsorted(total, np.asarray(QUANTILES) * total[-1]) / 255
    levels = np.arange(256)
    mean = float(counts @ levels) / total[-1]
    row["spread"] = (float(counts @ (levels - mean) ** 2) / total[-1]) ** 0.5 / 255
    common = int(counts.argmax())
    row["mode"] = counts[max(common - 4, 0) : common + 5].sum() / total[-1]
    row["blur"], row["fine"] = sharpness(luma)
    row["tint"] = _tint(np.asarray(picture))
    ring = np.concatenate([luma[0], luma[-1], luma[1:-1, 0], luma[1:-1, -1]])
    row["border"] = ring.mean() / 255, ring.std() / 255


def sharpness(luma: Grey) -> tuple[float, float]:
    """Return (blur, fine) of uint8 (H, W), each in [0, 1].

    blur: how little is lost when the picture is blurred again; 1 = nothing, so it was blurred, or has no detail at all. The
    larger of both directions. Source: Crété-Roffet et al., The blur effect, SPIE 2007, with its filter of 11 pixels.
    fine: share of the gradient's energy that averaging pairs of neighbours takes away, beyond half of the highest frequency.
    """
    blurs, fines = [], []
    values = luma.astype(np.float32)
    for plane in (values, values.T):
        length = plane.shape[1]
        if length < 4:
            return 1.0, 0.0
        slope = np.abs(np.diff(plane, axis=1))
        width = min(11, length - 2) | 1
        total = np.cumsum(np.pad(plane, ((0, 0), (width // 2 + 1, width // 2)), mode="edge"), axis=1)
        smooth = np.abs(np.diff((total[:, width:] - total[:, :-width]) / width, axis=1))
        energy = float(slope.sum())
        kept = float(np.maximum(slope - smooth, 0).sum())
        blurs.append(1 - kept / energy if energy else 1.0)
        step = np.diff(plane, axis=1)
        bend = np.diff(step, axis=1) / 2
        power = float(np.square(step).sum())
        fines.append(float(np.square(bend).sum()) / power if power else 0.0)
    return max(blurs), min(1.0, max(fines))


def _tint(pixels: npt.NDArray[np.uint8]) -> float:
    flat = pixels.reshape(-1, 3)
    flat = flat[:: max(1, len(flat) // 4096)]
    return float(np.quantile(flat.max(axis=1) - flat.min(axis=1), 0.99)) / 255


def _remembered(path: Path) -> dict[bytes, Facts]:
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return {}
    if table.dtype != FACTS or table.ndim != 1:
        return {}
    return {row["digest"].tobytes(): row for row in table}


def _remember(path: Path, rows: Facts) -> None:
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    try:
        write_atomic(path, buffer.getvalue())
    except MachineError as error:
        events.warn(f"what was measured could not be remembered: {error.message}", hint=error.hint)
