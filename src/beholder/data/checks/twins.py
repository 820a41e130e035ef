"""Twins: pictures that are there twice, twins whose labels contradict each other, and twins in two of the given parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from beholder.base.records import PARTS, Pictures
from beholder.data.checks import F64, I64, Check, Evidence, Marks
from beholder.data.twins import COPY, LIKE, Twins

COPIED = "it is a copy of another picture: saved, cut, turned, lit or written on otherwise"
SHOT = "it shows the same as another picture: shot again from the same place, or edited"

CLEAR = 2 / 3
"""Share of exact twins that must carry one label for it to count as theirs; there must be three at least."""


def duplicate(evidence: Evidence) -> Marks:
    """Score 1 for what has the same pixels, labels and part as a picture before it."""
    pictures, twins = evidence.pictures, _twins(evidence)
    cells = np.stack([twins.kinds, _labels(pictures), pictures.parts.astype(np.int64)], axis=1)
    _, first, which = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    other = np.asarray(first[which.ravel()], np.int64)
    other[other == np.arange(len(pictures))] = -1
    return Marks(_judged(evidence, (other >= 0).astype(np.float64)), other=other)


def near(evidence: Evidence) -> Marks:
    """Score how much the aligned details of two near twins agree; the later one of a pair is marked.

    The words tell copies from what was shot again or edited: see `beholder.data.twins.COPY`.
    """
    first, second, scores, light = _near_rows(_twins(evidence))
    later = np.maximum(first, second)
    best, other = _best(len(evidence.pictures), later, np.minimum(first, second), scores)
    _, pair = _best(len(evidence.pictures), later, np.arange(len(later)), scores)
    words = {row: COPIED if light[pair[row]] <= COPY else SHOT for row in np.unique(later).tolist()}
    return Marks(_judged(evidence, best), other=other, words=words)


def conflict(evidence: Evidence) -> Marks:
    """Score 1 where exact twins have other labels, and the agreement of near twins where these have.

    Exact twins are better left out, all of them, unless two of three or more agree: then the others are given that label (left
    out, where there are several labels a picture). Near twins stay: a person has to say which of them is right.
    """
    pictures, twins = evidence.pictures, _twins(evidence)
    labels = _labels(pictures)
    first, second, scores, _ = _near_rows(twins)
    apart = labels[first] != labels[second]
    ends = np.concatenate([first[apart], second[apart]])
    best, other = _best(len(pictures), ends, np.concatenate([second[apart], first[apart]]), np.tile(scores[apart], 2))
    relabel = np.full(len(pictures), -1, np.int64)
    suggest = dict.fromkeys(np.flatnonzero(best > 0).tolist(), "keep")
    for rows in _copies(twins):
        kinds = Counter(labels[rows].tolist())
        label, most = kinds.most_common(1)[0]
        if len(kinds) > 1:
            clear = len(rows) > 2 and most >= CLEAR * len(rows) - 1e-9
            wrong = rows[labels[rows] != label] if clear else rows
            best[wrong] = 1.0
            for row in wrong.tolist():
                other[row] = rows[np.argmax(labels[rows] != labels[row])]
                suggest[row] = "relabel" if clear and not pictures.multi else "drop"
                relabel[row] = pictures.targets[rows[labels[rows] == label][0]] if suggest[row] == "relabel" else -1
    words = {
        row: f"its {'exact' if best[row] == 1 else 'near'} twin is labelled {', '.join(pictures.labels(int(other[row])))}"
        for row in suggest
    }
    return Marks(_judged(evidence, best), other=other, relabel=relabel, words=words, suggest=suggest)


def leak(evidence: Evidence) -> Marks:
    """Score how sure it is that a picture has a twin in a later one of the given parts (train before valid before test)."""
    pictures, twins = evidence.pictures, _twins(evidence)
    best, other = leaks(pictures, twins)
    words = {
        row: f"its twin is in the {PARTS[pictures.parts[other[row]]]} part, this one in {PARTS[pictures.parts[row]]}"
        for row in np.flatnonzero(best > 0).tolist()
    }
    given = pictures.parts >= 0
    return Marks(np.where(given, _judged(evidence, best), np.nan), other=other, words=words)


def leaks(pictures: Pictures, twins: Twins) -> tuple[F64, I64]:
    """Return score (N,) and row (N,) of the surest twin of each picture in a later one of the given parts; 0 and -1 = none.

    Scores from `LIKE` on are sure. What to do about them is the caller's: leave such a picture out, or move it to where its
    twin is, `parts[rows] = parts[other[rows]]`.
    """
    return _across(pictures.parts, twins, later=True)


def touched(pictures: Pictures, twins: Twins) -> npt.NDArray[np.bool_]:
    """Return which pictures have a twin in an earlier part, bool (N,): to score a test part without them."""
    return _across(pictures.parts, twins, later=False)[0] >= LIKE


def _across(parts: npt.NDArray[np.int8], twins: Twins, *, later: bool) -> tuple[F64, I64]:
    """Score the ties of each picture to pictures of other parts; only the first of each kind in a part stands for it."""
    best, other = np.zeros(len(parts)), np.full(len(parts), -1, np.int64)
    names, kind = np.unique(twins.kinds, return_inverse=True)
    kind = kind.ravel()
    there = np.full((len(names), len(PARTS)), -1, np.int64)
    for part in range(len(PARTS)):
        rows = np.flatnonzero(parts == part)[::-1]
        there[kind[rows], part] = rows
    ties = [(np.arange(len(names)), np.arange(len(names)), np.ones(len(names)))]
    place = np.searchsorted(names, twins.near).clip(0, len(names) - 1)
    here = (names[place] == twins.near).all(axis=1)
    ties += [(place[here, a], place[here, 1 - a], twins.scores[here]) for a in (0, 1)]
    for mine, theirs, scores in ties:
        for part in range(len(PARTS)):
            order = np.argsort(scores, kind="stable")
            order = order[there[theirs[order], part] >= 0]
            found, sure = np.full(len(names), -1, np.int64), np.zeros(len(names))
            found[mine[order]], sure[mine[order]] = there[theirs[order], part], scores[order]
            outranked = (parts < part if later else parts > part) & (parts >= 0)
            better = outranked & (found[kind] >= 0) & (sure[kind] > best)
            best[better], other[better] = sure[kind[better]], found[kind[better]]
    return best, other


def _twins(evidence: Evidence) -> Twins:
    assert evidence.twins is not None
    return evidence.twins


def _judged(evidence: Evidence, scores: F64) -> F64:
    return np.asarray(np.where(evidence.readable, scores, np.nan))


def _labels(pictures: Pictures) -> I64:
    """Return a number for each picture's label or set of labels, int64 (N,)."""
    return np.asarray(np.unique(pictures.targets, axis=0, return_inverse=True)[1], np.int64).ravel()


def _copies(twins: Twins) -> list[I64]:
    """Return the rows of each set of exact twins."""
    order = np.argsort(twins.kinds, kind="stable")
    counts = np.unique(twins.kinds, return_counts=True)[1]
    return [np.sort(rows) for rows in np.split(order, np.cumsum(counts)[:-1]) if len(rows) > 1]


def _near_rows(twins: Twins) -> tuple[I64, I64, F64, F64]:
    """Return rows, scores and light of near twins, (M,) each; the first picture of a kind stands for it."""
    names, first = np.unique(twins.kinds, return_index=True)
    place = np.searchsorted(names, twins.near).clip(0, len(names) - 1)
    here = (names[place] == twins.near).all(axis=1)
    light = np.zeros(len(twins.near)) if twins.light is None else twins.light
    return first[place[here, 0]], first[place[here, 1]], twins.scores[here], light[here]


def _best(count: int, rows: I64, others: I64, scores: F64) -> tuple[F64, I64]:
    """Return the largest score of each picture, float64 (count,), and the row that it is shared with, -1 = none."""
    best, other = np.zeros(count), np.full(count, -1, np.int64)
    order = np.argsort(scores, kind="stable")
    best[rows[order]], other[rows[order]] = scores[order], others[order]
    return best, other


DUPLICATE = Check(
    duplicate,
    limit=1.0,
    sentence="the same pixels are there before, with the same label",
    hint="drop it: a copy teaches nothing, and counts twice",
    group="twins",
    suggestion="drop",
    needs=("twins",),
)
NEAR = Check(
    near,
    limit=LIKE,
    sentence="it shows the same as another picture, saved, cut, turned, lit or written on otherwise, or shot again",
    hint="keep both: they are held in one part when Beholder splits; drop one if the set is to be varied",
    group="twins",
    needs=("twins",),
)
CONFLICT = Check(
    conflict,
    limit=LIKE,
    sentence="its twin has another label",
    hint="look which label is right; of exact twins that disagree, all are better left out",
    group="twins",
    suggestion="drop",
    needs=("twins",),
)
LEAK = Check(
    leak,
    limit=LIKE,
    sentence="its twin is in a later part: the test would ask for what was learnt by heart",
    hint="leave it out of the earlier part, so that the test part stays as it is",
    group="twins",
    suggestion="drop",
    needs=("twins",),
)
