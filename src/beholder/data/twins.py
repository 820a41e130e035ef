"""Twins: pictures that are the same one, pixel by pixel, or the same one saved, cut, turned, lit or written on otherwise.

Exact twins have equal pixels. Near twins are found in three steps: a hash of each picture (`data.likeness`), an inverted file
of the hashes that gives candidates, and a comparison of the aligned pixels of these alone (`data.align`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.errors import PictureError
from beholder.base.files import cache_folder, sha256
from beholder.base.records import Pictures
from beholder.data import align, likeness
from beholder.data.facts import Thumbnails, seen
from beholder.data.image.apart import decoders

TIED, LIKE = 0.6, 0.85
"""Least agreement of two pictures that a split keeps together, and of those that are called near twins.

See docs/DATA_QUALITY.md for what pictures of different things reach. A split loses nothing by keeping too much together.
"""

COPY, FAR = 4.0, 14.0
"""Levels of 255 up to which the light of two copies of one picture differs, and beyond which two are not called near twins.

Of what shows the same detail, a copy is lit by one gain and offset, a second shot in spots, and a look-alike (lids, tins: one
ellipse on one board) not at all alike; see docs/LOG.md. What is FAR keeps a score below LIKE, and so its place in a split.
"""

GIANT = 0.1
"""Largest share of the pictures that near twins may tie into one group."""

SMALLEST = 32
"""Shorter side in pixels below which a picture has no near twins: it shows too little for two of a kind to differ."""

VERSION = 2
"""Counts the versions of how near twins are found: raise it when the same pictures would get others."""

CHUNK = 32
"""Pairs compared at a time by one thread: what is needed of them stays in the processor's cache."""

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Twins:
    """Who is whose twin, among N pictures.

    kinds:  int64 (N,), pictures with the same pixels share a number
    near:   int64 (M, 2), numbers of kinds that may be near twins (they are from a score of LIKE on), the smaller first
    scores: float64 (M,) in [TIED, 1], how much the details of such a pair agree once aligned
    light:  float64 (M,), levels by which their light differs: up to COPY in copies, more in second shots; None = not measured
    """

    kinds: I64
    near: I64
    scores: F64
    light: F64 | None = None

    def among(self, rows: npt.NDArray[np.integer]) -> Twins:
        """Return the twins among the pictures at `rows`, int (K,)."""
        return Twins(self.kinds[rows], self.near, self.scores, self.light)

    def groups(self) -> I64:
        """Return the number of each picture's group, int64 (N,): twins, and twins of twins, share one.

        Ties are followed from the surest on. One that would make a group of more than `GIANT` of the pictures (but
        20 at least) is left out, unless the pixels are equal: a chain of shots in series cannot swallow a set.
        """
        names, kind = np.unique(self.kinds, return_inverse=True)
        sizes = np.bincount(kind.ravel()).tolist()
        largest = max(GIANT * len(self.kinds), 20)
        parent = list(range(len(names)))

        def find(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        place = np.searchsorted(names, self.near).clip(0, max(len(names) - 1, 0))
        here = (names[place] == self.near).all(axis=1) if len(names) else np.zeros(len(self.near), bool)
        order = np.argsort(-self.scores, kind="stable")
        for a, b in place[order[here[order]]].tolist():
            one, other = sorted((find(a), find(b)))
            if one != other and sizes[one] + sizes[other] <= largest:
                parent[other] = one
                sizes[one] += sizes[other]
        roots = np.fromiter((find(node) for node in range(len(parent))), np.int64, len(parent))
        return np.asarray(roots[kind.ravel()], np.int64)


def twins(
    pictures: Pictures,
    facts: npt.NDArray[np.void],
    *,
    near: bool = True,
    root: str | Path | None = None,
    small: Thumbnails | None = None,
) -> Twins:
    """Return the twins among pictures. facts: their rows by `beholder.data.facts`, (N,).

    near: look for near twins too; who they are is remembered in the cache folder (`root`, the user's by default)
    small: thumbnails at hand; only candidates that are not among them are decoded, each once, and 4,096 bytes are held of each
    meanwhile. What cannot be read has no twin.
    Shows progress. Raises nothing of its own.
    """
    unread = facts["error"] != b""
    names = np.ascontiguousarray(facts["pixels"]).view("V16").ravel()
    _, first, kinds = np.unique(names, return_index=True, return_inverse=True)
    kinds = kinds.ravel().astype(np.int64)
    kinds[unread] = len(first) + np.flatnonzero(unread)
    shows = ~unread & (np.minimum(facts["height"], facts["width"]) >= SMALLEST)
    hashes = facts["hash"][first] * shows[first][:, None]
    if not near:
        return Twins(kinds, np.empty((0, 2), np.int64), np.empty(0))
    path = cache_folder(root) / "twins" / f"{sha256(bytes([VERSION]) + names[first].tobytes())[:32]}.npy"
    known = _remembered(path, len(first))
    if known is None:
        pairs, turns = likeness.alike(hashes)
        scores, light = agreements(pictures, first[pairs], turns, small)
        known = np.column_stack([pairs, scores, light])[scores >= TIED]
        memo.keep_table(path, known, what="near twins")
    return Twins(kinds, known[:, :2].astype(np.int64), known[:, 2], known[:, 3])


def _remembered(path: Path, n: int) -> F64 | None:
    """Return near twins found before: rows of first, second, score, light, float64 (M, 4)."""
    table = memo.table(path)
    if table is None or table.dtype != np.float64 or table.ndim != 2 or table.shape[1] != 4:
        return None
    return table if ((table[:, :2] >= 0) & (table[:, :2] < n)).all() else None


def agreements(pictures: Pictures, pairs: I64, turns: I64, small: Thumbnails | None = None) -> tuple[F64, F64]:
    """Return how much the details of pairs of pictures (int64 (M, 2) rows) agree, and their light, as `align.agreement` does.

    turns: int64 (M,), how the first of each pair is turned before; small: thumbnails at hand
    Scores are 0 where one cannot be read, and below LIKE where their light is FAR apart.
    """
    assert pictures.digests is not None
    held = {} if small is None else small.held
    rows = np.unique(pairs)
    thumbs = [held.get(pictures.digests[row].tobytes()) for row in rows.tolist()]
    missing = [at for at, thumb in enumerate(thumbs) if thumb is None]
    place = np.searchsorted(rows, pairs)
    scores, light = np.zeros(len(pairs)), np.zeros(len(pairs))

    def fetch(at: int) -> None:
        try:
            thumbs[at] = seen(pictures.store.read(pictures.keys[rows[at]]))
        except PictureError:
            thumbs[at] = np.zeros((align.SIZE, align.SIZE), np.uint8)  # an even surface agrees with nothing

    def compare(at: int) -> None:
        some = slice(at, at + CHUNK)
        mine = [likeness.turned_picture(thumbs[row], turn) for row, turn in zip(place[some, 0], turns[some], strict=True)]
        scores[some], light[some] = align.agreement(np.stack(mine), np.stack([thumbs[row] for row in place[some, 1]]))

    with decoders() as (pool, _):
        _shown(pool.map(fetch, missing), len(missing), "opening what looks alike")
        chunks = range(0, len(pairs), CHUNK)
        _shown(pool.map(compare, chunks), len(chunks), "comparing what looks alike")
    return np.where(light > FAR, np.minimum(scores, np.nextafter(LIKE, 0)), scores), light


def _shown(work: Iterable[None], total: int, label: str) -> None:
    for done, _ in enumerate(work, start=1):
        if done % 64 == 0 or done == total:
            events.progress(label, done, total)
