"""Train, valid and test: stratified, seeded, and leak-proof.

Pictures that must stay together (exact duplicates, near-duplicates once they are found, groups) form a unit;
whole units are assigned.
Which part a unit goes to depends on the seed and on the digests, not on names or their order.
Several labels or pictures in a unit: iterative stratification, Sechidis, Tsoumakas & Vlahavas 2011, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I8, I64, U8, Bools, Integer
from beholder.base.errors import DataError, UsageError
from beholder.base.mixing import mixed
from beholder.base.records import PARTS, Parts, Pictures
from beholder.base.renamed import current
from beholder.data.groups import named_groups
from beholder.data.leaks import without_leaks
from beholder.data.lost import with_readable_classes
from beholder.duplicates.near import LIKE, Twins, ties
from beholder.sources.digest import digested
from beholder.sources.listing import some

TRAIN, VALID, TEST = 0, 1, 2


def split(
    pictures: Pictures,
    *,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.15,
    group_from: str = "",
    near: bool = True,
    twins: Twins | None = None,
    unreadable: Bools | None = None,
    valid: float | None = None,
) -> Parts:
    """Return three parts; no picture is in two of them, and each is in the order of the source.

    group_from: a regular expression; pictures in whose names it finds the same (a patient, a track) stay in one part
    near: compare the pixels, so that near-duplicates (re-encoded, cropped, rotated, other exposure) stay in one part; a few
    milliseconds a picture, once. Of two that the source gives to different parts, the earlier part's is left out, and said
    twins: the duplicates, where they are known already; unreadable: bool (N,), pictures that cannot be decoded, no duplicates
    val, test: shares of the pictures that are divided (valid: old name of val). A part that the source gives stays; one that
    it does not give is taken from the pictures without a part, or, where all have one, from train
    Raises `UsageError` (bad-share), `DataError` (too-few-pictures, no-train).
    """
    if valid is not None:
        val, _ = valid, current("argument", "valid")
    _check(pictures, val, test)
    look = near and twins is None and len(pictures) > 0
    pictures = named_groups(pictures if look else digested(pictures), group_from, say=near)
    if look:
        pictures, twins, unreadable = _tied(pictures)
    if unreadable is not None:
        pictures, twins, unreadable = with_readable_classes(pictures, twins, unreadable)
    shares = _shares(pictures.parts, val, test)
    units, assigned = _loosened(pictures, twins, unreadable, shares, seed)
    if (assigned < 0).any():
        few = f"{(assigned < 0).sum()} pictures are too few to divide into {np.count_nonzero(shares)} parts"
        hint = "give three pictures of each class at least, one for each part; dozens, for a result that means something"
        raise DataError(few, code="too-few-pictures", hint=hint)
    _tell_torn(pictures, units)
    _tell(pictures, units, assigned, val, test)
    chosen = replace(pictures, parts=assigned.astype(np.int8))
    return Parts(*(chosen.take(np.flatnonzero(assigned == part)) for part in range(3)))


def _check(pictures: Pictures, val: float, test: float) -> None:
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise UsageError(f"val={val:g} and test={test:g} leave nothing to train on", code="bad-share", hint="try 0.15 each")
    if not isinstance(pictures, Pictures):
        hint = "beholder.split(beholder.scan(source)), or the .kept of what beholder.audit returns"
        raise UsageError(f"split takes pictures, not {type(pictures).__name__}", code="bad-source", hint=hint)
    pictures.with_labels()


def _tied(pictures: Pictures) -> tuple[Pictures, Twins, Bools]:
    """Return the pictures without those that leak into a later given part, the duplicates, and which cannot be read."""
    pictures, twins, measured = ties(pictures)
    unreadable = np.asarray(measured["error"] != b"")
    if not (pictures.parts >= 0).any():
        return pictures, twins, unreadable
    _, done = without_leaks(pictures, twins, ~unreadable, "drop")
    if not done:
        return pictures, twins, unreadable
    rows = np.array([row for row, key in enumerate(pictures.keys) if key not in done], np.int64)
    events.note(f"{len(done):,} pictures have duplicates in a later given part and are left out: {some(list(done))}")
    return pictures.take(rows), twins.among(rows), unreadable[rows]


LOOSER = (LIKE, 0.95, float("inf"))
"""Least scores of near-duplicates that still tie pictures of a class, tried in turn where a part would have too few."""

LITTLE = 3
"""A part has too few pictures of a class where near-duplicates leave it less than a third of what it would have."""


def _loosened(pictures: Pictures, twins: Twins | None, alone: Bools | None, shares: F64, seed: int) -> tuple[I64, I64]:
    """Return the unit and the part of each picture, int64 (N,) both, part -1 where the pool is too small to be divided.

    A class that near-duplicates alone would keep out of a part, or nearly so, is tied by surer ones only, and that is said.
    """
    units, assigned = _assigned(pictures, unit_of(pictures, twins, alone=alone), shares, seed)
    if twins is None or not len(twins.near):
        return units, assigned
    untied = replace(twins, near=twins.near[:0], scores=twins.scores[:0], light=None, least=None, turns=None)
    due = _counts(pictures, _assigned(pictures, unit_of(pictures, untied, alone=alone), shares, seed)[1])
    hurt = np.zeros(len(pictures.classes), bool)
    for least in LOOSER:
        now = np.asarray((_counts(pictures, assigned) * LITTLE < due).any(axis=0))
        if not now.any():
            break
        hurt = hurt | now
        theirs = np.any(pictures.targets[:, now], axis=1) if pictures.multi else now[pictures.targets]
        twins = twins.surer(least, of=np.asarray(theirs))
        units, assigned = _assigned(pictures, unit_of(pictures, twins, alone=alone), shares, seed)
    if hurt.any():
        names = some([pictures.classes[k] for k in np.flatnonzero(hurt)])
        events.warn(
            f"so many pictures of {names} look alike that one part would have too few if all were kept together: they are "
            "divided between the parts all the same, and the score of such a class may look better than it is",
            hint="--group-from, or a column group, says which pictures (of one person, track, series) have to stay together",
            code="near-ties",
        )
    return units, assigned


def _counts(pictures: Pictures, assigned: I64) -> I64:
    """Return how many pictures of each class are in each part, int64 (3, K)."""
    return np.stack([pictures.take(np.flatnonzero(assigned == part)).counts() for part in range(3)])


def _assigned(pictures: Pictures, units: I64, shares: F64, seed: int) -> tuple[I64, I64]:
    """Return the units, and the part of each picture, int64 (N,): -1 where there are too few to be divided."""
    assigned = pictures.parts.astype(np.int64)
    _follow(assigned, units)
    pool = _pool(assigned, units, shares)
    if shares[1:].any() or (assigned < 0).any():
        enough = len(pool) >= np.count_nonzero(shares)
        assigned[pool] = _dealt(pictures, units[pool], pool, shares, seed) if enough else -1
    return units, assigned


def _shares(given: I8, valid: float, test: float) -> F64:
    """Return the shares (3,) by which the pool is divided: 0 for valid or test where the source gives it."""
    shares = np.array([0.0, 0.0 if (given == VALID).any() else valid, 0.0 if (given == TEST).any() else test])
    shares[TRAIN] = 1 - shares.sum()
    if not ((given == TRAIN) | (given < 0)).any():
        raise DataError(
            "the source gives no pictures to train on, only "
            + " and ".join(PARTS[p] for p in (VALID, TEST) if (given == p).any()),
            code="no-train",
            hint="add a train folder, or give the folder of class folders itself",
        )
    return shares


def unit_of(pictures: Pictures, twins: Twins | None = None, *, alone: Bools | None = None) -> I64:
    """Return the unit of each picture, int64 (N,): the components of equal digests, equal groups and duplicates.

    alone: bool (N,), pictures whose digests make them nobody's duplicate
    """
    assert pictures.digests is not None
    rows = np.ascontiguousarray(pictures.digests).view("V32").ravel()
    twin = np.unique(rows, return_inverse=True)[1].astype(np.int64).ravel()
    if alone is not None:
        twin[alone] = int(twin.max(initial=-1)) + 1 + np.arange(np.count_nonzero(alone))
    ties = [(twin, twin)]
    for numbers in (pictures.groups, *([] if twins is None else [twins.binding(pictures.targets).groups()])):
        grouped = np.flatnonzero(numbers >= 0)
        _, first, group = np.unique(numbers[grouped], return_index=True, return_inverse=True)
        ties.append((twin[grouped], twin[grouped][first][group.ravel()]))
    return np.unique(_firsts(ties)[twin], return_inverse=True)[1].astype(np.int64).ravel()


def _firsts(ties: Sequence[tuple[I64, I64]]) -> I64:
    """Return the first node of the component of each node, int64 (N,); ties: pairs of nodes, int64 (M,) each."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = (np.concatenate(ends) for ends in zip(*ties, strict=True))
    n = int(one.max(initial=-1)) + 1
    if not n:
        return np.zeros(0, np.int64)
    labels = connected_components(coo_array((np.ones(len(one), bool), (one, other)), (n, n)), directed=False)[1]
    return np.asarray(np.unique(labels, return_index=True)[1][labels], np.int64)


def _follow(assigned: I64, units: I64) -> None:
    """Give pictures without a part that of the given pictures they are tied to (train first)."""
    held = _held(assigned, units)
    tied = (assigned < 0) & np.any(held, axis=1)[units]
    assigned[tied] = np.argmax(held, axis=1)[units[tied]]


def _held(parts: Integer, units: I64) -> Bools:
    """Return which units have pictures in which of the given parts, bool (U, 3)."""
    held = np.zeros((int(units.max(initial=-1)) + 1, 3), bool)
    given = parts >= 0
    held[units[given], parts[given]] = True
    return held


def _tell_torn(pictures: Pictures, units: I64) -> None:
    """Warn of ties across the parts that the source gives."""
    torn, given = np.asarray(np.count_nonzero(_held(pictures.parts, units), axis=1) > 1), pictures.parts >= 0
    if torn.any():
        n = int(torn[units[given]].sum())
        text = f"{n:,} pictures have exact duplicates, or others of their group, in another part of the given split"
        hint = "they stay where the source puts them, and the score will look better than it is: remove them from the source"
        events.warn(text, hint=hint, code="leak", keys=[pictures.keys[i] for i in np.flatnonzero(torn[units] & given)[:100]])


def _pool(assigned: I64, units: I64, shares: F64) -> I64:
    """Return the rows to divide: those without a part; else those of train that nothing ties to another part."""
    free = np.flatnonzero(assigned < 0)
    if len(free) or not shares[1:].any():
        return free
    elsewhere = np.unique(units[assigned > 0])
    return np.flatnonzero((assigned == TRAIN) & ~np.isin(units, elsewhere))


@dataclass(frozen=True)
class _Units:
    """Units of the pool in seeded order, and what they show, as a sparse matrix by rows.

    sizes: pictures in each unit, (U,); starts: (U + 1,) into labels and numbers; labels: class; numbers: pictures with it
    """

    sizes: F64
    starts: I64
    labels: I64
    numbers: F64
    classes: int

    def of_label(self) -> list[I64]:
        """Return the units that show each class, in order."""
        unit = np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=self.classes))
        return np.split(unit[order], ends[:-1])


class _Deal:
    """What each part still lacks. wanted: (3, K) pictures of each class; room: (3,) pictures; part: (U,), -1 = open."""

    def __init__(self, units: _Units, shares: F64) -> None:
        self.units = units
        self.shares = shares
        self.usable = np.flatnonzero(shares > 0)
        self.wanted = shares[:, None] * np.bincount(units.labels, units.numbers, minlength=units.classes)
        self.room = shares * units.sizes.sum()
        self.got = np.zeros_like(self.wanted, bool)
        self.open = np.bincount(units.labels, minlength=units.classes)
        self.enough = self.open >= len(self.usable)
        self.part = np.full(len(units.sizes), -1, np.int64)

    def row(self, unit: int) -> tuple[I64, F64]:
        span = slice(self.units.starts[unit], self.units.starts[unit + 1])
        return self.units.labels[span], self.units.numbers[span]

    def give(self, unit: int, label: int) -> None:
        """Give a unit to the part that lacks `label` most (-1: that has most room)."""
        labels, numbers = self.row(unit)
        part = self._best(labels, label)
        self.part[unit] = part
        self.wanted[part, labels] -= numbers
        self.room[part] -= self.units.sizes[unit]
        self.got[part, labels] = True
        self.open[labels] -= 1

    def _best(self, labels: I64, label: int) -> int:
        allowed = self.usable
        scarce = labels[self.open[labels] <= len(allowed)] if len(labels) else labels
        if len(scarce):
            # A part that would otherwise never see some class of the unit comes first.
            lacking = ~self.got[np.ix_(allowed, scarce)]
            urgent = allowed[lacking[:, self.open[scarce] <= lacking.sum(axis=0)].any(axis=1)]
            allowed = urgent if len(urgent) else allowed
        score = self.wanted[allowed, label] + 1e-6 * self.room[allowed] if label >= 0 else self.room[allowed]
        return int(allowed[score.argmax()])


def _dealt(pictures: Pictures, units: I64, pool: I64, shares: F64, seed: int) -> I64:
    """Return the part of each row of the pool, int64 (M,)."""
    assert pictures.digests is not None
    names, unit = np.unique(units, return_inverse=True)
    unit = _shuffled(pictures.digests[pool], unit.ravel(), len(names), seed)
    table = _table(pictures, pool, unit, len(names))
    deal = _Deal(table, shares)
    simple = (table.sizes == 1) & (not pictures.multi)
    _deal_one_by_one(deal, ~simple)
    _deal_by_class(deal, np.flatnonzero(simple))
    return np.asarray(deal.part[unit], np.int64)


def _table(pictures: Pictures, pool: I64, unit: I64, n: int) -> _Units:
    k = len(pictures.classes)
    targets = pictures.targets[pool]
    rows, labels = np.nonzero(targets) if pictures.multi else (np.arange(len(pool)), targets.astype(np.int64))
    cells, numbers = np.unique(unit[rows] * k + labels, return_counts=True)
    starts = np.searchsorted(cells, np.arange(n + 1) * k)
    sizes = np.bincount(unit, minlength=n).astype(np.float64)
    return _Units(sizes, starts.astype(np.int64), cells % k, numbers.astype(np.float64), k)


def _shuffled(digests: U8, unit: I64, n: int, seed: int) -> I64:
    """Return each row's unit, renumbered in a seeded order that depends on content and seed alone."""
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    words = mixed(np.ascontiguousarray(digests[:, :8]).view("<u8").ravel() ^ salt)
    rank = np.full(n, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(rank, unit, words)
    order = np.argsort(rank, kind="stable")
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return np.asarray(place[unit], np.int64)


def _deal_one_by_one(deal: _Deal, todo: Bools) -> None:
    """Iterative stratification: always the rarest label still open, its largest units first. todo: (U,)."""
    of_label = deal.units.of_label()
    left = np.array([np.count_nonzero(todo[rows]) for rows in of_label])
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        rows = of_label[label][todo[of_label[label]]]
        for unit in rows[np.argsort(-deal.units.sizes[rows], kind="stable")].tolist():
            deal.give(unit, label)
            left[deal.row(unit)[0]] -= 1
        todo[rows] = False
    for unit in np.flatnonzero(todo).tolist():
        deal.give(unit, -1)


def _deal_by_class(deal: _Deal, todo: I64) -> None:
    """Deal out single pictures with one label, class by class, by the quotas that are still open."""
    labels = deal.units.labels[deal.units.starts[todo]]
    order = np.argsort(labels, kind="stable")
    for rows in np.split(todo[order], np.cumsum(np.bincount(labels))[:-1]) if len(todo) else ():
        if len(rows):
            ends = np.cumsum(_quotas(deal, int(deal.units.labels[deal.units.starts[rows[0]]]), len(rows)))
            deal.part[rows] = np.searchsorted(ends, np.arange(len(rows)), side="right")
            deal.room -= np.diff(ends, prepend=0)


def _quotas(deal: _Deal, label: int, n: int) -> I64:
    """Return how many of `n` pictures each part gets, int64 (3,): largest remainders, at least one where that can be."""
    wanted = np.clip(deal.wanted[:, label], 0, None)
    exact = n * wanted / (wanted.sum() or 1.0)
    quotas: I64 = np.floor(exact).astype(np.int64)
    # Rounding alone would give every class's odd picture to the same part; the part with most room left takes it.
    order = np.lexsort((-deal.room, -np.round(exact - quotas, 9)))
    quotas[order[: n - quotas.sum()]] += 1
    for part in np.flatnonzero((deal.shares > 0) & ~deal.got[:, label] & (quotas == 0)).tolist():
        spare = quotas - ~deal.got[:, label]
        giver = int(np.argmax(spare))
        if spare[giver] > 0 and deal.enough[label]:
            quotas[giver] -= 1
            quotas[part] += 1
    return quotas


def _tell(pictures: Pictures, units: I64, assigned: I64, valid: float, test: float) -> None:
    """Warn of classes with one picture, and of parts that miss a class."""
    counts = pictures.counts()
    lone = [pictures.classes[k] for k in np.flatnonzero(counts == 1)]
    if lone:
        text = f"{len(lone)} of {len(pictures.classes)} classes have only one picture: {some(lone)}"
        hint = "such a class cannot be both learnt and tested: add pictures, or leave it out"
        events.warn(text, hint=hint, code="lone-class")
    for part, share in ((TRAIN, 1.0), (VALID, valid), (TEST, test)):
        rows = np.flatnonzero(assigned == part)
        if not len(rows) and not share:
            continue
        there = pictures.take(rows).counts()
        missing = [pictures.classes[k] for k in np.flatnonzero((there == 0) & (counts > 1))]
        if missing:
            events.warn(
                f"the {PARTS[part]} part has no picture of {len(missing)} of {len(pictures.classes)} classes: {some(missing)}",
                hint="each class needs three pictures or more that are neither duplicates nor of one group",
                code="missing-class",
                part=PARTS[part],
            )
