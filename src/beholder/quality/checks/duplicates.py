"""Duplicates, near-duplicates, duplicates with contradicting labels, and leaks between the given parts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from beholder.base.arrays import F32, F64, I64
from beholder.base.order import numbered
from beholder.base.records import PARTS
from beholder.data.leaks import leaks
from beholder.duplicates.near import COPY, LIKE, Twins
from beholder.quality.checks import Check, Evidence, Marks

COPIED = "it is a copy of another picture: re-encoded, cropped, rotated, with other exposure or text"
SHOT = "it shows the same as another picture: taken again from the same place, or edited"

CLEAR = 2 / 3
"""Share of exact duplicates that must carry one label for it to count as theirs; there must be three at least."""


def duplicate(evidence: Evidence) -> Marks:
    """Score 1 for what has the same pixels, labels and part as a picture before it."""
    pictures, twins = evidence.pictures, _twins(evidence)
    cells = np.stack([twins.kinds, numbered(pictures.targets), pictures.parts.astype(np.int64)], axis=1)
    _, first, which = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    other = np.asarray(first[which.ravel()], np.int64)
    other[other == np.arange(len(pictures))] = -1
    return Marks(_judged(evidence, (other >= 0).astype(np.float64)), other=other)


def near(evidence: Evidence) -> Marks:
    """Score how much the aligned details of two near-duplicates agree; the later one of a pair is marked.

    The words tell copies from what was shot again or edited: see `beholder.duplicates.near.COPY`.
    """
    first, second, scores, light = _near_rows(_twins(evidence))
    later = np.maximum(first, second)
    best, other = _best(len(evidence.pictures), later, np.minimum(first, second), scores)
    _, pair = _best(len(evidence.pictures), later, np.arange(len(later)), scores)
    words = {row: COPIED if light[pair[row]] <= COPY else SHOT for row in np.unique(later).tolist()}
    return Marks(_judged(evidence, best), other=other, words=words, order=_ordered(best, other, evidence.features))


def _ordered(scores: F64, other: I64, features: F32 | None) -> F64:
    """Return the order of near-duplicates, float64 (N,): by score, equal ones (to a hundredth) by cosine of features."""
    if features is None:
        return scores
    cosine, rows = np.zeros(len(scores)), np.flatnonzero(other >= 0)
    first, second = features[rows], features[other[rows]]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine[rows] = np.nan_to_num((first * second).sum(axis=1) / np.maximum(lengths, 1e-12))
    return np.asarray(np.round(scores, 2) + 0.004 * cosine)


def conflict(evidence: Evidence) -> Marks:
    """Score 1 where exact duplicates have other labels, and the agreement of near-duplicates where these have.

    Exact duplicates are better left out, all of them, unless two thirds of three or more agree: then the others alone.
    Near-duplicates stay: a person has to say which of them is right.
    """
    pictures, twins = evidence.pictures, _twins(evidence)
    labels = numbered(pictures.targets)
    first, second, scores, _ = _near_rows(twins)
    apart = labels[first] != labels[second]
    ends = np.concatenate([first[apart], second[apart]])
    best, other = _best(len(pictures), ends, np.concatenate([second[apart], first[apart]]), np.tile(scores[apart], 2))
    suggest = dict.fromkeys(np.flatnonzero(best > 0).tolist(), "review")
    for rows in _copies(twins):
        kinds = Counter(labels[rows].tolist())
        label, most = kinds.most_common(1)[0]
        if len(kinds) > 1:
            clear = len(rows) > 2 and most >= CLEAR * len(rows) - 1e-9
            wrong = rows[labels[rows] != label] if clear else rows
            best[wrong] = 1.0
            for row in wrong.tolist():
                other[row] = rows[np.argmax(labels[rows] != labels[row])]
                suggest[row] = "drop"
    words = {
        row: f"its {'exact ' if best[row] == 1 else 'near-'}duplicate is labelled {', '.join(pictures.labels(int(other[row])))}"
        for row in suggest
    }
    return Marks(_judged(evidence, best), other=other, words=words, suggest=suggest)


def leak(evidence: Evidence) -> Marks:
    """Score how sure it is that a picture has a duplicate in a later given part (train before valid before test)."""
    pictures, twins = evidence.pictures, _twins(evidence)
    best, other = leaks(pictures, twins)
    words = {
        row: f"its duplicate is in the {PARTS[pictures.parts[other[row]]]} part, this one in {PARTS[pictures.parts[row]]}"
        for row in np.flatnonzero(best > 0).tolist()
    }
    given = pictures.parts >= 0
    return Marks(np.where(given, _judged(evidence, best), np.nan), other=other, words=words)


def _twins(evidence: Evidence) -> Twins:
    """Return the duplicates; near ones with different labels only where their pixels agree everywhere."""
    assert evidence.twins is not None
    return evidence.twins.binding(evidence.pictures.targets)


def _judged(evidence: Evidence, scores: F64) -> F64:
    return np.asarray(np.where(evidence.readable, scores, np.nan))


def _copies(twins: Twins) -> list[I64]:
    """Return the rows of each set of exact duplicates."""
    order = np.argsort(twins.kinds, kind="stable")
    counts = np.unique(twins.kinds, return_counts=True)[1]
    return [np.sort(rows) for rows in np.split(order, np.cumsum(counts)[:-1]) if len(rows) > 1]


def _near_rows(twins: Twins) -> tuple[I64, I64, F64, F64]:
    """Return rows, scores and light of near-duplicates, (M,) each; the first picture of a kind stands for it."""
    names, first = np.unique(twins.kinds, return_index=True)
    place, here = twins.placed(names)
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
    sentence="an earlier picture has the same pixels and the same label",
    hint="drop it: a copy adds nothing, and counts twice",
    group="duplicates",
    suggestion="drop",
    needs=("twins",),
)
NEAR_DUPLICATE = Check(
    near,
    limit=LIKE,
    sentence=(
        "near-duplicate: it shows the same as another picture, re-encoded, cropped, rotated, with other exposure or text, "
        "or taken again"
    ),
    hint="keep both: Beholder keeps them in one part of the split; drop one for a more varied set",
    group="duplicates",
    needs=("twins",),
)
CONFLICT = Check(
    conflict,
    limit=LIKE,
    sentence="its duplicate has another label",
    hint="check which label is right; exact duplicates that disagree are better all left out",
    group="duplicates",
    suggestion="drop",
    needs=("twins", "labels"),
)
LEAK = Check(
    leak,
    limit=LIKE,
    sentence="its duplicate is in a later part: the test would measure memorisation",
    hint="leave it out of the earlier part, so that the test part stays as it is",
    group="duplicates",
    suggestion="drop",
    needs=("twins",),
)
