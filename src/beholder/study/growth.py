"""How a score grows with the pictures that are learnt from: fits on nested subsets, and on all but half of a class."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import F32, F64, I64
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.machine.stop import check_stop
from beholder.study.judge import Judge

Learner = Callable[[I64, I64], F32]
"""(rows int64 (N,) to fit, rows int64 (M,) to score) → logits float (M, W)."""

DRAWS = 5
"""Subsets of each size."""

SIZES, FEWEST = 6, 20
"""Sizes, each twice the one before, and the fewest pictures at which a curve begins."""

EACH = 3
"""Pictures of a class, on average, at which it begins at the earliest."""

HALVES = 4
"""Halves of a class that are left out in turn: two random ones, and the rest of each."""

LATE = 1.3
"""By how much longer than the last one a fit of the same size may take: what would end later is not begun."""


@dataclass(frozen=True, eq=False)
class Grounds:
    """What is learnt from and scored on.

    targets: int (N,) or 0 and 1 (N, K); units: int64 (N,), pictures of one number (a group, duplicates) stay together
    rounds: (rows to learn from, rows to score) of each fold, or of the one split
    """

    targets: npt.NDArray[np.integer]
    units: I64
    rounds: Sequence[tuple[I64, I64]]
    seed: int = 0

    @property
    def scored(self) -> I64:
        """Return the rows that are scored, in the order in which they are, int64 (M,)."""
        return np.concatenate([rows for _, rows in self.rounds])

    @property
    def largest(self) -> int:
        """Return how many pictures each round has to learn from."""
        return min(len(rows) for rows, _ in self.rounds)

    def sizes(self, classes: int) -> list[int]:
        """Return the sizes of the subsets, rising; each is half the next, and the last is `largest`."""
        found = [float(self.largest)]
        while len(found) < SIZES and found[-1] / 2 >= max(FEWEST, EACH * classes):
            found.append(found[-1] / 2)
        return [round(size) for size in found[::-1]]

    def subset(self, turn: int, *, size: int, draw: int) -> I64:
        """Return rows of a round, int64 (M,): the first `size` or a few less of an order of units, stratified and seeded.

        Smaller subsets of one draw are in the larger ones.
        """
        rows = self.rounds[turn][0]
        _, first, unit = np.unique(self.units[rows], return_index=True, return_inverse=True)
        place = np.empty(len(first), np.int64)
        seed = np.random.SeedSequence([self.seed, turn, draw]).generate_state(1)[0]
        place[stratified(self.targets[rows][first], seed=int(seed))] = np.arange(len(first))
        return np.asarray(rows[np.argsort(place[unit], kind="stable")][:size])


@dataclass
class Fits:
    """Fits against the clock: what a fit of so many pictures will take is told from those before it."""

    learn: Learner
    grounds: Grounds
    until: Deadline
    each: float = 0.0
    done: int = field(default=0, init=False)

    def fits(self, size: int, *, until: Deadline | None = None) -> bool:
        """Return whether there is time for all rounds with `size` pictures."""
        seconds = LATE * self.each * size * len(self.grounds.rounds)
        return (self.until if until is None else until).left > seconds

    def __call__(self, subset: Callable[[int], I64]) -> F32:
        """Return logits (M, W) of the scored rows by fits on `subset(turn)` of each round."""
        found, began, pictures = [], time.monotonic(), 0
        for turn, (_, scored) in enumerate(self.grounds.rounds):
            check_stop()
            rows = subset(turn)
            found.append(self.learn(rows, scored))
            pictures += len(rows)
        self.each = (time.monotonic() - began) / max(1, pictures)
        self.done += 1
        events.progress("fits for the learning curve", self.done, 0)
        return np.concatenate(found)


def grown(fits: Fits, judge: Judge, sizes: Sequence[int], *, until: Deadline) -> dict[int, list[F64]]:
    """Return size → the judge's replicates (R,) for each subset of that size; rising sizes, as many as there is time for.

    The first subset of every size comes first, then the second, …; of all pictures there is one. until: for more than the first
    """
    found: dict[int, list[F64]] = {}
    largest = fits.grounds.largest
    for draw in range(DRAWS):
        for size in sizes if not draw else [size for size in found if size < largest]:
            end = until if draw and len(found) == len(sizes) else None  # with sizes missing all time is for those there are
            if not fits.fits(size, until=end) and (draw or found):
                if draw:
                    return found
                break
            found.setdefault(size, []).append(judge(fits(partial(fits.grounds.subset, size=size, draw=draw))))
    return found


@dataclass(frozen=True, eq=False)
class Halved:
    """What the loss of half of a class costs.

    pictures: of the class, per round, before; drops, own: (H, R) replicates of the fall of the score, and of the class's own
    """

    pictures: int
    drops: F64
    own: F64


def halved(fits: Fits, judge: Judge, size: int, classes: int) -> dict[int, Halved]:
    """Return class → what halving its share of `size` pictures costs; classes without two halves in time are left out."""
    counts = np.array([np.mean(_counts(fits.grounds, size, k)) for k in range(classes)])
    found: dict[int, list[tuple[F64, F64]]] = {k: [] for k in np.flatnonzero(counts >= 2).tolist()}
    if not fits.fits(3 * size):
        return {}
    whole = judge.prior_adjusted(fits(partial(fits.grounds.subset, size=size, draw=0)))
    score, own = judge(whole), judge.own(whole)
    for first, k in ((first, k) for first in range(0, HALVES, 2) for k in found):
        if not fits.fits(2 * size):
            break
        for half in (first, first + 1):
            less = judge.prior_adjusted(fits(partial(_without, fits.grounds, size=size, k=k, half=half)))
            found[k].append((score - judge(less), own[:, k] - judge.own(less)[:, k]))
    return {
        k: Halved(round(counts[k]), np.array([drop for drop, _ in rows]), np.array([own for _, own in rows]))
        for k, rows in found.items()
        if rows
    }


def _counts(grounds: Grounds, size: int, k: int) -> list[int]:
    return [int(_of_class(grounds, grounds.subset(turn, size=size, draw=0), k).sum()) for turn in range(len(grounds.rounds))]


def _of_class(grounds: Grounds, rows: I64, k: int) -> npt.NDArray[np.bool_]:
    targets = grounds.targets[rows]
    return np.asarray(targets[:, k] > 0 if targets.ndim == 2 else targets == k)


def _without(grounds: Grounds, turn: int, *, size: int, k: int, half: int) -> I64:
    """Return the subset of a round without half of the units of a class; halves 0 and 1, 2 and 3 are each other's rest."""
    rows = grounds.subset(turn, size=size, draw=0)
    mine = _of_class(grounds, rows, k)
    units = np.unique(grounds.units[rows[mine]])
    rng = np.random.default_rng([grounds.seed, turn, k, half // 2])
    order = rng.permutation(units)
    middle = (len(order) + turn % 2) // 2
    gone = order[:middle] if half % 2 else order[middle:]
    return rows[~(mine & np.isin(grounds.units[rows], gone))]
