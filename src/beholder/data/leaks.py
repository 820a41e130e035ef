"""Leaks: duplicates across the given parts, resolved in the earlier part, so that the later one loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I8, I64, Bools
from beholder.base.errors import DataError
from beholder.base.order import numbered
from beholder.base.records import PARTS, Pictures
from beholder.duplicates.near import LIKE, Twins
from beholder.sources.listing import some

VALID = PARTS.index("valid")


def without_leaks(pictures: Pictures, twins: Twins | None, may: Bools, policy: str) -> tuple[Pictures, dict[str, str]]:
    """Return the pictures without duplicates across given parts, and what was done: picture → drop | move:PART.

    may: which pictures may be left out or moved, bool (N,)
    A picture that was moved may have duplicates in the part that it left: it goes on until none is left. Near-duplicates of
    a class that would have no validation picture left stay there, and that is said.
    """
    left, done = _without(pictures, twins, may, policy)
    if len(pictures) and not (left.parts <= PARTS.index("train")).any() and (pictures.parts == PARTS.index("train")).any():
        text = "nothing is left to train on: every training picture has a duplicate in a later given part"
        hint = "give other pictures to train on; beholder audit SOURCE --check leak lists them"
        raise DataError(text, code="all-leaked", hint=hint)
    spared = _spared(pictures, left, done, twins)
    return _without(pictures, twins, may & ~spared, policy) if spared.any() else (left, done)


def _spared(pictures: Pictures, left: Pictures, done: Mapping[str, str], twins: Twins | None) -> Bools:
    """Return which pictures have to stay, although near-duplicates of theirs are in a later part, bool (N,); warn of it."""
    out, names = np.zeros(len(pictures), bool), []
    if twins is None or not done:
        return out
    gone = np.array([key in done for key in pictures.keys], bool)
    theirs = pictures.parts == VALID
    before, after = (held.take(np.flatnonzero(held.parts == VALID)).counts() for held in (pictures, left))
    for label in np.flatnonzero((before > 0) & (after == 0)).tolist():
        shows = pictures.targets[:, label] > 0 if pictures.multi else pictures.targets == label
        here = theirs & shows & gone & (leaks(pictures, twins)[0] < 1)
        if here.any():
            out |= here
            names.append(pictures.classes[label])
    if names:
        events.warn(
            f"all validation pictures of {some(names)} look the same as some of the test: they stay all the same, so the "
            "weights are chosen, and probabilities fitted, by what is also tested",
            hint="give other pictures of it, or let Beholder divide: leave the parts out of the source",
            code="near-ties",
        )
    return out


def _without(pictures: Pictures, twins: Twins | None, may: Bools, policy: str) -> tuple[Pictures, dict[str, str]]:
    """Return the pictures without duplicates across given parts, and what was done; those that `may` not go stay."""
    parts, out = pictures.parts.copy(), np.zeros(len(pictures), bool)
    labels = numbered(pictures.targets)
    while twins is not None:
        best, other = leaks(replace(pictures, parts=np.where(out, -1, parts).astype(np.int8)), twins)
        rows = np.flatnonzero((best >= LIKE) & may)
        if not len(rows):
            break
        joins = (policy == "move") & (labels[rows] == labels[other[rows]]) & (pictures.groups[rows] < 0)
        out[rows[~joins]] = True
        parts[rows[joins]] = parts[other[rows[joins]]]
    done = {pictures.keys[row]: "drop" for row in np.flatnonzero(out).tolist()}
    moved = np.flatnonzero(~out & (parts != pictures.parts))
    done |= {pictures.keys[row]: f"move:{PARTS[parts[row]]}" for row in moved.tolist()}
    left = replace(pictures, parts=parts).take(np.flatnonzero(~out))
    return left, done


def leaks(pictures: Pictures, twins: Twins) -> tuple[F64, I64]:
    """Return score (N,) and row (N,) of the surest duplicate of each picture in a later given part; 0 and -1 = none.

    Scores from `LIKE` on are sure. What to do about them is the caller's: leave such a picture out, or move it to where its
    duplicate is, `parts[rows] = parts[other[rows]]`.
    """
    return _across(pictures.parts, twins.binding(pictures.targets))


def _across(parts: I8, twins: Twins) -> tuple[F64, I64]:
    """Score the ties of each picture to pictures of other parts; only the first of each kind in a part stands for it."""
    best, other = np.zeros(len(parts)), np.full(len(parts), -1, np.int64)
    names, kind = np.unique(twins.kinds, return_inverse=True)
    kind = kind.ravel()
    there = np.full((len(names), len(PARTS)), -1, np.int64)
    for part in range(len(PARTS)):
        rows = np.flatnonzero(parts == part)[::-1]
        there[kind[rows], part] = rows
    ties = [(np.arange(len(names)), np.arange(len(names)), np.ones(len(names)))]
    place, here = twins.placed(names)
    ties += [(place[here, a], place[here, 1 - a], twins.scores[here]) for a in (0, 1)]
    for mine, theirs, scores in ties:
        for part in range(len(PARTS)):
            order = np.argsort(scores, kind="stable")
            order = order[there[theirs[order], part] >= 0]
            found, sure = np.full(len(names), -1, np.int64), np.zeros(len(names))
            found[mine[order]], sure[mine[order]] = there[theirs[order], part], scores[order]
            outranked = (parts < part) & (parts >= 0)
            better = outranked & (found[kind] >= 0) & (sure[kind] > best)
            best[better], other[better] = sure[kind[better]], found[kind[better]]
    return best, other
