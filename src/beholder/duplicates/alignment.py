"""Whether two pictures are the same: how much of their detail agrees after the best alignment.

One picture may be cropped, enlarged, brighter or of more contrast than the other, and something may be written on it. Scale and
shift along each axis, gain and offset are found by Gauss-Newton from coarse to fine, with weights that fall with the
residual (Baker & Matthews, Lucas-Kanade 20 years on, IJCV 2004). Then the correlation of what is finer than a tenth of the
picture is taken, over the overlap, without the tenth of the blocks that agrees least: it is what the same lens saw that
counts, not that two bottles stand on one table.
"""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F32, F64, U8, Bools

SIZE = 64
"""Height and width in pixels of the pictures that are compared."""

BLOCKS = 8
"""The picture is divided into 8 × 8 blocks."""

LEAVE = 0.1
"""Share of the blocks that may disagree altogether: a line of text, a stamp."""

OVERLAP, KEPT = 0.75, 0.5
"""Least share of the picture that both show, and of one's detail that must lie in the blocks that count."""

FAINT = 0.5
"""Least standard deviation of the detail, in levels of 255: with less, it is the noise of JPEG that would be compared."""

SCALE, SHIFT = 0.13, 0.13
"""Farthest from life size, and from the middle in half pictures: 5 % cut off each side need 0.11 and 0.10."""

EARLY = 0.4
"""Agreement at half the size below which the whole size is not looked at any more."""


WINDOW, STRIDE = 12, 4
"""Side of the places, and pixels between them, at which two pictures are compared for `everywhere`."""

SHARP = 4.0
"""Least deviation of the detail at a place, in levels of 255, for it to be compared; half of that of the whole picture else."""

STILL: F32 = np.array([1, 0, 1, 0], np.float32)
"""The place of a picture that is not moved: scale and shift of rows, then of columns."""


def agreement(first: U8, second: U8) -> tuple[F64, F64]:
    """Return how much the details of M pairs agree once aligned, float64 (M,) in [0, 1]; and how far apart their light is.

    first, second: uint8 (M, 64, 64), each squeezed to this size from whatever shape it has; details: 1 = the same picture.
    light: float64 (M,), in levels of 255, after the gain and offset that suit best: a quarter of the blocks differ by more.
    They are aligned at a quarter and at half of the size; steps at the whole size find no duplicate more (docs/LOG.md).
    """
    levels, place = _aligned(first, second)
    moved, seen = _moved(levels[1][0], place)
    scores = _score(moved, levels[1][1], seen)
    left = np.flatnonzero(scores >= EARLY)
    light = np.full(len(scores), 255.0)
    if len(left):
        moved, seen = _moved(levels[0][0][left], place[left])
        scores[left] = _score(moved, levels[0][1][left], seen)
        light[left] = _light(moved, levels[0][1][left], seen)
    return scores, light


def everywhere(first: U8, second: U8) -> F64:
    """Return how much the details of M pairs agree at the place where they agree least, float64 (M,) in [-1, 1].

    first, second: as for `agreement`. Where `agreement` looks away from a tenth of the picture, in which somebody may have
    written, this does not: two signs that differ in a digit agree as a whole, and not at the digit. Places without detail in
    either are not compared.
    """
    levels, place = _aligned(first, second)
    for _ in range(2):
        place = _step(*levels[0], place, robust=True)
    moved, seen = _moved(levels[0][0], place)
    return _least(moved, levels[0][1], seen)


def _least(moved: F32, second: F32, seen: Bools) -> F64:
    """Return the least agreement over the places of `everywhere`, (M,)."""
    count = np.maximum(seen.sum(axis=(1, 2)), 1)
    centred = [(values - ((values * seen).sum(axis=(1, 2)) / count)[:, None, None]) * seen for values in (moved, second)]
    power = np.maximum((centred[0] ** 2).sum(axis=(1, 2)), 1e-6)
    gain = (centred[0] * centred[1]).sum(axis=(1, 2)) / power
    ours, theirs = gain[:, None, None] * _detail(moved) * seen, _detail(second) * seen
    a, b, both = _places(ours**2), _places(theirs**2), _places(ours * theirs)
    whole = (np.square(ours).mean(axis=(1, 2)) + np.square(theirs).mean(axis=(1, 2))) / 2
    sharp = np.maximum(SHARP**2, whole / 4)[:, None, None] * WINDOW**2
    shown = (_places(seen.astype(np.float32)) >= 0.8 * WINDOW**2) & (np.maximum(a, b) >= sharp)
    return np.asarray(np.where(shown, 2 * both / np.maximum(a + b, 1e-6), 1.0).min(axis=(1, 2)))


def _places(values: F32) -> F64:
    """Return sums over squares of `WINDOW` pixels, `STRIDE` pixels apart: (M, S, S) → (M, n, n)."""
    total = np.pad(values.astype(np.float64).cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    start = np.arange(0, values.shape[1] - WINDOW + 1, STRIDE)
    rows = total[:, start + WINDOW] - total[:, start]
    return np.asarray(rows[:, :, start + WINDOW] - rows[:, :, start])


def _aligned(first: U8, second: U8) -> tuple[list[tuple[F32, F32]], F32]:
    """Return both pictures at full, half and a quarter of the size, and where the first lies on the second, (M, 4)."""
    levels = [(first.astype(np.float32), second.astype(np.float32))]
    for _ in range(2):
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    place = np.tile(STILL, (len(first), 1))
    for level, robust in ((2, False), (1, True)):
        for _ in range(4):
            place = _step(*levels[level], place, robust=robust)
    return levels, place


def _halved(pictures: F32) -> F32:
    rows = pictures[:, ::2] + pictures[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4)


def _axis(size: int) -> F32:
    """Return the places of pixel centres, -1 to 1: float32 (size,)."""
    return np.asarray((np.arange(size) + 0.5) / size * 2 - 1, np.float32)


def _moved(pictures: F32, place: F32) -> tuple[F32, Bools]:
    """Return pictures (M, S, S) seen through scale and shift by rows, then columns: place (M, 4); and where they are seen."""
    size = pictures.shape[1]
    weights, seen = [], []
    for axis in (0, 2):
        at = (place[:, axis, None] * _axis(size) + place[:, axis + 1, None] + 1) / 2 * size - 0.5
        seen.append((at >= -0.5) & (at <= size - 0.5))
        inside = np.clip(at, 0, size - 1)
        weights.append(np.maximum(0, 1 - np.abs(inside[:, :, None] - np.arange(size, dtype=np.float32))))
    moved = weights[0] @ pictures @ weights[1].transpose(0, 2, 1)
    return moved, seen[0][:, :, None] & seen[1][:, None, :]


def _step(first: F32, second: F32, place: F32, *, robust: bool) -> F32:
    """Return a better place: one step of Gauss-Newton, with gain and offset found beside it."""
    count, size, _ = first.shape
    moved, seen = _moved(first, place)
    at = _axis(size)
    planes = np.zeros((count, 6, size, size), np.float32)  # by scale and shift of rows, then of columns; gain and offset
    np.subtract(moved[:, 2:], moved[:, :-2], out=planes[:, 1, 1:-1])
    np.subtract(moved[:, :, 2:], moved[:, :, :-2], out=planes[:, 3, :, 1:-1])
    planes[:, 1] *= (size / 4) / place[:, 0, None, None]
    planes[:, 3] *= (size / 4) / place[:, 2, None, None]
    np.multiply(planes[:, 1], at[:, None], out=planes[:, 0])
    np.multiply(planes[:, 3], at, out=planes[:, 2])
    planes[:, 4], planes[:, 5] = moved, 1
    columns = planes.reshape(count, 6, size * size)
    weights = seen.reshape(count, size * size).astype(np.float32)
    light = _solved(columns[:, 4:], second.reshape(count, size * size), weights)
    rest = second.reshape(count, size * size) - (light[:, None, :] @ columns[:, 4:])[:, 0]
    if robust:
        spread = np.sqrt((rest**2 * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))
        weights /= 1 + (rest / (spread[:, None] + 1e-3)) ** 2
    columns[:, :4] *= np.where(np.abs(light[:, :1]) < 0.2, 0.2, light[:, :1])[:, :, None]
    step = np.clip(_solved(columns, rest, weights)[:, :4], -0.06, 0.06)
    reach = np.array([SCALE, SHIFT, SCALE, SHIFT], np.float32)
    return np.asarray(np.clip(place + step, STILL - reach, STILL + reach), np.float32)


def _solved(columns: F32, wanted: F32, weights: F32) -> F32:
    """Return least squares: columns (M, P, n), wanted and weights (M, n) → (M, P), with a slight pull towards 0."""
    weighed = columns * weights[:, None]
    square = weighed @ columns.transpose(0, 2, 1)
    side = weighed @ wanted[:, :, None]
    pull = 1e-4 * np.trace(square, axis1=1, axis2=2) / square.shape[1] + 1e-6
    square += np.eye(square.shape[1], dtype=np.float32) * pull[:, None, None]
    return np.asarray(np.linalg.solve(square, side)[:, :, 0], np.float32)


def _detail(pictures: F32) -> F32:
    """Return what a mean over 7 × 7 pixels takes away, (M, S, S)."""
    smooth = pictures
    for axis in (1, 2):
        edges = [(0, 0), (0, 0), (0, 0)]
        edges[axis] = (4, 3)
        total = np.cumsum(np.pad(smooth, edges, mode="edge"), axis=axis, dtype=np.float64)
        n = pictures.shape[axis]
        smooth = np.asarray((np.take(total, range(7, n + 7), axis) - np.take(total, range(n), axis)) / 7, np.float32)
    return np.asarray(pictures - smooth)


def _score(moved: F32, second: F32, seen: Bools) -> F64:
    """Return how much the details agree, (M,): moved, second (M, S, S), compared where `seen`."""
    ours, theirs = _detail(moved) * seen, _detail(second) * seen
    a, b, both = _blocks(ours**2), _blocks(theirs**2), _blocks(ours * theirs)
    gain = np.median(np.sqrt((b + 1) / (a + 1)), axis=1)[:, None]  # of most blocks: a text is not to be matched by contrast
    apart = b - 2 * gain * both + gain**2 * a
    keep = np.ones_like(apart, bool)
    leave = round(LEAVE * apart.shape[1])
    np.put_along_axis(keep, np.argsort(-apart, axis=1, kind="stable")[:, :leave], False, axis=1)
    share = np.maximum(
        (a * keep).sum(axis=1) / np.maximum(a.sum(axis=1), 1e-6), (b * keep).sum(axis=1) / np.maximum(b.sum(axis=1), 1e-6)
    )
    some = np.where(share >= KEPT, _correlation(a * keep, b * keep, both * keep), 0)
    score = np.maximum(_correlation(a, b, both), some)
    faint = FAINT**2 * moved.shape[1] ** 2
    shown = (seen.mean(axis=(1, 2)) >= OVERLAP) & (a.sum(axis=1) >= faint) & (b.sum(axis=1) >= faint)
    return np.asarray(np.where(shown, np.clip(score, 0, 1), 0), np.float64)


def _light(moved: F32, second: F32, seen: Bools) -> F64:
    """Return by how much the means of blocks differ beyond gain and offset, (M,): the third quartile."""
    shown = _blocks(seen.astype(np.float32))
    count = np.maximum(shown.sum(axis=1, keepdims=True), 1)
    ours, theirs = (_blocks(values * seen) for values in (moved, second))
    centred = [means - shown * (means.sum(axis=1, keepdims=True) / count) for means in (ours, theirs)]
    a, b = (block / np.maximum(shown, 1) for block in centred)
    gain = (a * b * shown).sum(axis=1) / np.maximum((a * a * shown).sum(axis=1), 1e-6)
    return np.asarray(np.quantile(np.abs(b - gain[:, None] * a), 0.75, axis=1))


def _blocks(values: F32) -> F64:
    """Return sums over blocks, (M, 64)."""
    side = values.shape[1] // BLOCKS
    sums = values.reshape(-1, BLOCKS, side, BLOCKS, side).sum(axis=(2, 4), dtype=np.float64)
    return np.asarray(sums.reshape(-1, BLOCKS * BLOCKS))


def _correlation(a: F64, b: F64, both: F64) -> F64:
    return np.asarray(both.sum(axis=1) / np.sqrt(np.maximum(a.sum(axis=1) * b.sum(axis=1), 1e-6)))
