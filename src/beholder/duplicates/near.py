"""Duplicates: the same pixels, or the same picture re-encoded, cropped, rotated, with other exposure or text.

Exact duplicates have equal pixels. Near-duplicates are found in three steps: a hash of each picture (`duplicates.hashing`), an
inverted file of the hashes that gives candidates, and a comparison of their aligned pixels (`duplicates.alignment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.arrays import F64, I64, U8, Bools, Integer
from beholder.base.brief import shown
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import PictureError
from beholder.base.files import sha256
from beholder.base.order import numbered
from beholder.base.records import Pictures
from beholder.duplicates import alignment, hashing, join
from beholder.duplicates.appearance import seen
from beholder.duplicates.facts import Facts, Thumbnails, fingerprinted
from beholder.image.sandbox import decoders
from beholder.machine.folders import cache_folder

TIED, LIKE = 0.6, 0.85
"""Least agreement of two pictures that a split keeps together, and of those that are called near-duplicates.

See docs/DATA_QUALITY.md for what pictures of different things reach. A split loses nothing by keeping too much together.
"""

SAME = 0.9
"""Least agreement at every place (`alignment.everywhere`) for which two pictures with different labels are held to be one.

Signs, cards and gauges are drawn after one form, and what differs is what the label says: as wholes they agree up to 0.99. See
docs/LOG.md for what copies and such pictures reach.
"""

TURNING = 3
"""So many pairs of one turn that agree at every place and have different labels, and at least half of all that do, say that
the turn itself changes the label: an arrow to the left, mirrored, is one to the right."""

COPY, FAR = 4.0, 14.0
"""Levels of 255 up to which two copies of a picture differ in exposure, and beyond which two are no near-duplicates.

Of what shows the same detail, a copy is lit by one gain and offset, a second shot in spots, and a look-alike (lids, tins: one
ellipse on one board) not at all alike; see docs/LOG.md. What is FAR keeps a score below LIKE, and so its place in a split.
"""

GIANT = 0.1
"""Largest share of the pictures that near-duplicates may tie into one group."""

SMALLEST = 32
"""Shorter side in pixels below which a picture has no near-duplicates: it shows too little for two of a kind to differ."""


VERSION = 3
"""Counts the versions of how near-duplicates are found: raise it when the same pictures would get others."""

CHUNK = 32
"""Pairs compared at a time by one thread: what is needed of them stays in the processor's cache."""

NEAR = 50_000
"""Pictures up to which a split looks for near-duplicates, about a millisecond each, once. It does not depend on
the minutes of a run: they may be others when it is resumed, and the split must be the same."""


@dataclass(frozen=True, eq=False)
class Twins:
    """Who is whose duplicate, among N pictures.

    kinds:  int64 (N,), pictures with the same pixels share a number
    near:   int64 (M, 2), numbers of kinds that may be near-duplicates (they are from a score of LIKE on), the smaller first
    scores: float64 (M,) in [TIED, 1], how much the details of such a pair agree once aligned
    light:  float64 (M,), levels by which their light differs: up to COPY in copies, more in second shots; None = not measured
    least:  float64 (M,), how much those with different labels agree where they agree least; NaN, None = not measured
    turns:  int64 (M,), by which of `hashing.TURNS` the first becomes the second; None = not turned
    """

    kinds: I64
    near: I64
    scores: F64
    light: F64 | None = None
    least: F64 | None = None
    turns: I64 | None = None

    __repr__ = shown

    def among(self, rows: Integer) -> Twins:
        """Return the duplicates among the pictures at `rows`, int (K,)."""
        return replace(self, kinds=self.kinds[rows])

    def placed(self, names: I64) -> tuple[I64, Bools]:
        """Return where in `names`, sorted, the kinds of each near pair stand, int64 (M, 2), and whether both do, bool (M,)."""
        if not len(names):
            return np.zeros((len(self.near), 2), np.int64), np.zeros(len(self.near), bool)
        place = np.searchsorted(names, self.near).clip(0, len(names) - 1)
        return place, (names[place] == self.near).all(axis=1)

    def binding(self, targets: Integer) -> Twins:
        """Return the duplicates without near ones whose labels differ and whose aligned pixels do not agree everywhere.

        targets: of the N pictures, int (N,) or (N, K); the first picture of a kind stands for it
        """
        if self.least is None or not len(self.near) or not len(self.kinds):
            return self
        labels = numbered(targets)
        names, first = np.unique(self.kinds, return_index=True)
        place, here = self.placed(names)
        apart = here & (labels[first[place[:, 0]]] != labels[first[place[:, 1]]])
        same = np.where(np.isnan(self.least) & ~apart, self.scores >= LIKE, self.least >= SAME)
        turns = np.zeros(len(self.near), np.int64) if self.turns is None else self.turns
        for turn in np.unique(turns[turns > 0]).tolist():
            those = here & same & (turns == turn)
            crossing = np.count_nonzero(those & apart)
            if crossing >= TURNING and 2 * crossing >= np.count_nonzero(those):
                same &= turns != turn
        return self._only(~apart | same)

    def _only(self, stay: Bools) -> Twins:
        """Return the duplicates with those pairs of near ones alone that `stay`, bool (M,)."""
        light, least = (None if column is None else column[stay] for column in (self.light, self.least))
        turns = None if self.turns is None else self.turns[stay]
        return Twins(self.kinds, self.near[stay], self.scores[stay], light, least, turns)

    def surer(self, than: float, *, of: Bools) -> Twins:
        """Return the duplicates without near ones of a score below `than` that touch one of the pictures `of`, bool (N,)."""
        kinds = np.unique(self.kinds[of])
        return self._only((self.scores >= than) | ~np.isin(self.near, kinds).any(axis=1))

    def groups(self) -> I64:
        """Return the number of each picture's group, int64 (N,): duplicates, and duplicates of duplicates, share one.

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

        place, here = self.placed(names)
        order = np.argsort(-self.scores, kind="stable")
        for a, b in place[order[here[order]]].tolist():
            one, other = sorted((find(a), find(b)))
            if one != other and sizes[one] + sizes[other] <= largest:
                parent[other] = one
                sizes[one] += sizes[other]
        roots = np.fromiter((find(node) for node in range(len(parent))), np.int64, len(parent))
        return np.asarray(roots[kind.ravel()], np.int64)


def near_wanted(pictures: Pictures) -> bool:
    """Return whether a split of these pictures looks for near-duplicates (up to `NEAR` of them), and say so if not."""
    if len(pictures) > NEAR:
        events.note(f"of more than {NEAR:,} pictures only exact duplicates are kept in one part; beholder audit finds others")
    return len(pictures) <= NEAR


def ties(pictures: Pictures) -> tuple[Pictures, Twins, Facts]:
    """Return the pictures with digests, what a split keeps together of them, and their facts (N,); all is remembered."""
    small = Thumbnails() if near_wanted(pictures) else None
    pictures, measured = fingerprinted(pictures, small=small)
    return pictures, twins(pictures, measured, near=small is not None, small=small), measured


def twins(
    pictures: Pictures,
    facts: npt.NDArray[np.void],
    *,
    near: bool = True,
    root: str | Path | None = None,
    small: Thumbnails | None = None,
    until: Deadline = NEVER,
) -> Twins:
    """Return the duplicates among pictures. facts: their rows by `beholder.duplicates.facts`, (N,).

    near: look for near-duplicates too; who they are is remembered in the cache folder (`root`, the user's by default)
    small: thumbnails at hand; only candidates that are not among them are decoded, each once, and 4,096 bytes are held of each
    meanwhile. What cannot be read has no duplicate. until: when it should be over: pairs left then count as none
    Shows progress. Raises nothing of its own.
    """
    names, first, kinds = _kinds(facts)
    shows = (facts["error"] == b"") & (np.minimum(facts["height"], facts["width"]) >= SMALLEST)
    hashes = facts["hash"][first] * shows[first][:, None]
    if not near:
        return Twins(kinds, np.empty((0, 2), np.int64), np.empty(0))
    found_by = bytes([VERSION]) + (b"joined" if len(first) >= join.MANY else b"")
    path = cache_folder(root) / "duplicates" / f"{sha256(found_by + names[first].tobytes())[:32]}.npy"
    known = _remembered(path, len(first))
    labels = numbered(pictures.targets)[first]
    if known is None:
        pairs, turns = join.candidates(hashes)
        apart = labels[pairs[:, 0]] != labels[pairs[:, 1]]
        found = agreements(pictures, first[pairs], turns, small, apart=apart, until=until)
        known = np.column_stack([pairs, found.scores, found.light, found.least, turns])[found.scores >= TIED]
    else:
        pairs, turns = known[:, :2].astype(np.int64), known[:, 5].astype(np.int64)
        new = np.flatnonzero(np.isnan(known[:, 4]) & (labels[pairs[:, 0]] != labels[pairs[:, 1]]))  # labels were others then
        if not len(new):
            return _of(kinds, known)
        known[new, 4] = agreements(pictures, first[pairs[new]], turns[new], small, until=until).least
    if not until.passed:
        memo.keep_table(path, known, what="near-duplicates")
    return _of(kinds, known)


def _kinds(facts: Facts) -> tuple[npt.NDArray[np.void], I64, I64]:
    """Return the name of each picture's pixels, the first picture of each kind, and the kind of each: unread ones are alone."""
    unread = facts["error"] != b""
    names = np.ascontiguousarray(facts["pixels"]).view("V16").ravel()
    _, first, kinds = np.unique(names, return_index=True, return_inverse=True)
    kinds = kinds.ravel().astype(np.int64)
    kinds[unread] = len(first) + np.flatnonzero(unread)
    return names, first, kinds


def _of(kinds: I64, known: F64) -> Twins:
    return Twins(kinds, known[:, :2].astype(np.int64), known[:, 2], known[:, 3], known[:, 4], known[:, 5].astype(np.int64))


def _remembered(path: Path, n: int) -> F64 | None:
    """Return near-duplicates found before: rows of first, second, score, light, least, turn, float64 (M, 6)."""
    table = memo.table(path)
    if table is None or table.dtype != np.float64 or table.ndim != 2 or table.shape[1] != 6:
        return None
    return table if ((table[:, :2] >= 0) & (table[:, :2] < n)).all() else None


@dataclass(frozen=True, eq=False)
class Agreement:
    """How M pairs of pictures agree, float64 (M,) each: `scores`, `light` and `least` as `Twins` has them."""

    scores: F64
    light: F64
    least: F64


def agreements(
    pictures: Pictures,
    pairs: I64,
    turns: I64,
    small: Thumbnails | None = None,
    *,
    apart: Bools | None = None,
    until: Deadline = NEVER,
) -> Agreement:
    """Return how pairs of pictures (int64 (M, 2) rows) agree; with one that cannot be read, nothing does.

    turns: int64 (M,), how the first of each pair is turned before; small: thumbnails at hand
    apart: bool (M,), of which pairs `least` is measured, which takes thrice the time; None: of all
    """
    assert pictures.digests is not None
    held = small or {}
    rows = np.unique(pairs)
    thumbs = [held.get(pictures.digests[row].tobytes()) for row in rows.tolist()]
    missing = [at for at, thumb in enumerate(thumbs) if thumb is None]

    def fetch(at: int) -> None:
        if until.passed:
            thumbs[at] = np.zeros((alignment.SIZE, alignment.SIZE), np.uint8)
            return
        try:
            thumbs[at] = seen(pictures.store.read(pictures.keys[rows[at]]), bits=pictures.bits or 0)
        except PictureError:
            thumbs[at] = np.zeros((alignment.SIZE, alignment.SIZE), np.uint8)  # an even surface agrees with nothing

    with decoders() as (pool, _):
        _shown(pool.map(fetch, missing), len(missing), "opening candidates")
    whole = [thumb for thumb in thumbs if thumb is not None]
    return agreeing(whole, np.searchsorted(rows, pairs), turns, apart=apart, until=until)


def agreeing(thumbs: Sequence[U8], pairs: I64, turns: I64, *, apart: Bools | None = None, until: Deadline = NEVER) -> Agreement:
    """Return how pairs of thumbnails, uint8 (64, 64) each, agree: the one place that decides what is a near-duplicate.

    pairs: int64 (M, 2), places in `thumbs`; turns: int64 (M,), how the first of each is turned before
    apart: bool (M,), of which pairs `least` is measured; None: of all
    Scores are below LIKE where the light is FAR apart; `least` is NaN where it was not asked for, or the score is below TIED.
    """
    scores, light, least = np.zeros(len(pairs)), np.zeros(len(pairs)), np.full(len(pairs), np.nan)

    def compare(at: int) -> None:
        if until.passed:
            return
        some = np.arange(at, min(at + CHUNK, len(pairs)))
        mine = [hashing.turned_picture(thumbs[one], turn) for one, turn in zip(pairs[some, 0], turns[some], strict=True)]
        first, second = np.stack(mine), np.stack([thumbs[one] for one in pairs[some, 1]])
        scores[some], light[some] = alignment.agreement(first, second)
        close = (scores[some] >= TIED) & (True if apart is None else apart[some])
        if close.any():
            least[some[close]] = alignment.everywhere(first[close], second[close])

    with decoders() as (pool, _):
        chunks = range(0, len(pairs), CHUNK)
        _shown(pool.map(compare, chunks), len(chunks), "comparing candidates")
    return Agreement(np.where(light > FAR, np.minimum(scores, np.nextafter(LIKE, 0)), scores), light, least)


def _shown(work: Iterable[None], total: int, label: str) -> None:
    for done, _ in enumerate(work, start=1):
        if done % 64 == 0 or done == total:
            events.progress(label, done, total)
