"""The verb `next`: which pictures without labels are worth a label next, by the features and the doubts of a model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import cells, events
from beholder.base.arrays import F32, F64, I8, I64, Bools, Floating
from beholder.base.brief import within
from beholder.base.errors import DataError, UsageError
from beholder.base.files import write_atomic
from beholder.base.names import readable
from beholder.base.numbers import check_seed
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle, opened
from beholder.data.cache import Pixels, cached
from beholder.data.clusters import Axes
from beholder.data.known import confirmed, hashes, in_cache, maybe_known, units
from beholder.data.select import to_label
from beholder.machine.pace import calm
from beholder.machine.stop import check_stop, stopping
from beholder.measure.neighbours import unit
from beholder.runtime.features import Run
from beholder.runtime.inference import engine, outputs
from beholder.sources import manifest, scan, table
from beholder.sources.digest import digested
from beholder.sources.listing import some
from beholder.study.introduce import introduced

CHUNK = 4096
"""Pictures whose logits and features are in memory at a time; so many training pictures, at most, stand for all."""


@dataclass(frozen=True)
class Offer:
    """One picture: its key, what the model says of it, with which probability, and by how much that leads over the next."""

    path: str
    prediction: str
    p: float
    margin: float


@dataclass(frozen=True, eq=False)
class Next:
    """The pictures to label next, the most worthwhile first.

    pictures: those that are offered, in that order; offers: what the model says of each
    looked: pictures of the source; counts: how many were left out, by reason: labelled, near-duplicates, unreadable, not-finite
    out: the table that was written, or None
    """

    pictures: Pictures
    offers: tuple[Offer, ...]
    looked: int
    counts: Mapping[str, int]
    out: Path | None
    notes: tuple[str, ...]
    seconds: float = 0.0

    def __repr__(self) -> str:
        return within("Next", [f"{len(self):,} of {self.looked:,} pictures"])

    def __len__(self) -> int:
        return len(self.offers)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per picture: path, prediction, p, margin."""
        return [
            {"path": one.path, "prediction": one.prediction, "p": round(one.p, 4), "margin": round(one.margin, 4)}
            for one in self.offers
        ]

    def json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "offered": len(self),
            "of": self.looked,
            "left_out": dict(self.counts),
            "pictures": [{**row, "path": readable(row["path"])} for row in self.rows()],
            "out": None if self.out is None else str(self.out),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }

    def sentences(self) -> list[str]:
        """Return what is offered, in sentences."""
        said = [f"{len(self):,} of {self.looked:,} pictures are worth a label next, the most worthwhile first."]
        gone = [f"{n:,} {reason}" for reason, n in self.counts.items() if n]
        if gone:
            said.append(f"Left out: {', '.join(gone)}.")
        if self.out is not None:
            said.append(f"{self.out} names them: fill in the column label, and it is a source to train on.")
        return said

    def __str__(self) -> str:
        return "\n".join([*self.sentences(), *self.notes])

    def save(self, path: str | Path) -> Path:
        """Write path,label,prediction,p,margin, the label empty, to be filled in; return the path.

        Raises `UsageError` (no-files), `DataError` (bad-names), `MachineError`.
        """
        out = Path(path)
        names = manifest.paths(self.pictures, out, otherwise="or unpack the archive")
        odd = [name for name in names if readable(name) != name]
        if odd:
            text = f"a table cannot hold these names: {some(odd)}"
            raise DataError(text, code="bad-names", hint="rename the files")
        lines = [cells.line(["path", "label", "prediction", "p", "margin"])]
        for name, row in zip(names, self.rows(), strict=True):
            lines.append(cells.line([name, "", row["prediction"], row["p"], row["margin"]]))
        write_atomic(out, "".join(lines).encode())
        return out


def next(
    bundle: Bundle | str | Path,
    source: str | Path | Any,
    *,
    n: int = 100,
    out: str | Path | None = None,
    seed: int = 0,
    trust: bool = False,
    allow_download: bool = False,
) -> Next:
    """Return which pictures of a source are worth a label next: those most like many others of which the model is unsure.

    bundle: a Bundle, or the path of one; source: what `scan` takes, with labels, which are not looked at, or without
    n: how many; all there are, where these are fewer, which is said
    out: write the table there, NAME.csv; nothing is overwritten, and no place inside the source is taken
    One after the other the picture comes that adds most to how well all are covered by labelled ones like them, each weighing
    as much as the model doubts it (`data.select.to_label`). Pictures that the bundle was trained, chosen or tested on,
    near-duplicates of those it learnt from, and of each other but one, are not offered; unreadable ones are counted.

    Raises what `load` and `scan` raise, `UsageError` (bad-n, bad-seed, bad-out, exists, inside-source, no-files), `DataError`
    (all-unreadable, nothing-left).
    """
    began = time.monotonic()
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise UsageError(f"next cannot offer {n} pictures", code="bad-n", hint="a whole number, 1 at least")
    check_seed(seed)
    place = None if out is None else _place(Path(out), source)
    model = opened(bundle, trust=trust)
    with stopping(), calm():
        pictures = _bare(_all_of(source, allow_download))
        if place is not None:
            manifest.paths(pictures.take(np.arange(0)), place, otherwise="or unpack the archive")
        found = _offered(model.ready(), pictures, int(n), seed)
        if place is not None:
            found = replace(found, out=found.save(place))
        return replace(found, seconds=time.monotonic() - began)


def _all_of(source: Any, allow_download: bool) -> Pictures:
    """Return the pictures of a source; of a table in which labels are left open, those of every row."""
    path = Path(source) if isinstance(source, (str, Path)) else Path()
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        rows = table.parse(path.read_bytes(), path.name, where=str(path))
        files = list(dict.fromkeys(path.parent / row.path for row in rows))
        if any(not row.labels for row in rows) and all(file.is_file() for file in files):
            return introduced(scan(files, labels=False))
    return introduced(source, labels=None, allow_download=allow_download)


def _place(out: Path, source: object) -> Path:
    if out.suffix.lower() != ".csv":
        hint = f"the result is a table: --out {out.with_suffix('.csv').name}"
        raise UsageError(f"{out} is no name of a table", code="bad-out", hint=hint)
    manifest.check_place(out, source)
    return out


def _bare(pictures: Pictures) -> Pictures:
    """Return the pictures with digests, and without what a source may say of them."""
    none = np.full(len(pictures), -1, np.int64)
    targets = np.zeros((len(pictures), 0), np.uint8)
    return digested(replace(pictures, targets=targets, classes=(), parts=none.astype(np.int8), groups=none))


def _offered(bundle: Bundle, pictures: Pictures, n: int, seed: int) -> Next:
    labelled = np.array([part != "" for part in bundle.part_of(pictures.hexdigests)], bool)
    rows = np.flatnonzero(~labelled)
    counts = {"labelled": int(labelled.sum()), "near-duplicates": 0, "unreadable": 0, "not-finite": 0}
    if not len(rows):
        raise _nothing(pictures, "every picture of it was given to this model with a label already")
    pixels = cached(pictures.take(rows), bundle.policy, on_bad="skip")
    counts["unreadable"] = len(pixels.bad)
    single, notes = _single(bundle, replace(pictures.take(rows[pixels.rows]), digests=pixels.digests), pixels)
    counts["near-duplicates"] = len(pixels) - len(single)
    if not len(single):
        raise _nothing(pictures, "every picture of it is a near-duplicate of one that this model learnt from")
    places, directions, margins, known = _seen(bundle, pixels.subset(single), seed)
    counts["not-finite"] = len(single) - len(places)
    if not len(places):
        raise _nothing(pictures, "the model answers no numbers for any picture of it, but NaN or infinity")
    if n > len(places):
        notes.append(events.warn(f"{n:,} pictures were asked for, and there are {len(places):,}: all of them are offered"))
    best = single[places[to_label(directions, margins, min(n, len(places)), known=known, seed=seed)]]
    offers = _told(bundle, pictures, rows[pixels.rows[best]], pixels.subset(best))
    return Next(pictures.take(rows[pixels.rows[best]]), offers, len(pictures), counts, None, tuple(notes))


def _nothing(pictures: Pictures, why: str) -> DataError:
    what = f"there is nothing to label in {pictures.store.name}: {why}"
    return DataError(what, code="nothing-left", hint="give a folder with new pictures")


def _single(bundle: Bundle, pictures: Pictures, pixels: Pixels) -> tuple[I64, list[str]]:
    """Return the positions without near-duplicates of what the model learnt from, and of each other all but the first."""
    seen = hashes(pixels)
    like, notes = _like_known(bundle, pixels, seen)
    unit_names = units(replace(pictures, targets=np.zeros(len(pictures), np.int64), classes=("any",)), pixels, seen)
    left = np.flatnonzero(~like & ~np.isin(unit_names, unit_names[like]))
    first = np.unique(unit_names[left], return_index=True)[1]
    return np.sort(left[first]), notes


def _like_known(bundle: Bundle, pixels: Pixels, seen: I8) -> tuple[Bools, list[str]]:
    """Return which pictures look the same as one that was learnt from, bool (M,), and a note where hashes alone say so."""
    like = np.zeros(len(pixels), bool)
    if not len(bundle.hashes):
        return like, []
    learnt = [digest for digest, part in bundle.splits if part != "test"]
    held = in_cache(learnt, bundle.policy)
    if held is not None and len(held) == len(learnt):
        return confirmed(pixels, seen, held, hashes(held)), []
    like = maybe_known(seen, bundle.hashes)
    if not like.any():
        return like, []
    words = f"{int(like.sum()):,} pictures have perceptual hashes close to one that the model learnt from, and are left out"
    return like, [f"{words}; whether the pixels are the same cannot be told without those pictures"]


def _seen(bundle: Bundle, pixels: Pixels, seed: int) -> tuple[I64, F32, F64, F32 | None]:
    """Return positions int64 (M,), directions float32 (M, C) and margins float64 (M,) of what the model has answers for.

    Last come the directions of the training pictures, float32 (L, C), None where these are not at hand.
    """
    order = np.random.default_rng(seed).permutation(len(pixels))
    run, axes = engine(bundle, pixels.subset(order[:CHUNK]), pictures=len(pixels)), None
    margins = np.full(len(pixels), np.nan)
    directions = np.zeros((len(pixels), 1), np.float32)
    for at in range(0, len(order), CHUNK):
        check_stop()
        rows = order[at : at + CHUNK]
        logits, features = outputs(bundle, pixels.subset(rows), run=run, label="")
        fit = ~bundle.unfit(logits, features) & np.isfinite(features).all(axis=1)
        if not fit.any():
            continue
        if axes is None:
            axes = Axes.of(features[fit])
            directions = np.zeros((len(pixels), axes.axes.shape[1]), np.float32)
        directions[rows[fit]] = unit(axes(features[fit]))
        margins[rows[fit]] = margins_of(bundle, bundle.activated(logits[fit]))
        events.progress("looking at the pictures", min(at + CHUNK, len(order)), len(order))
    places = np.flatnonzero(np.isfinite(margins))
    known = None if axes is None else _learnt(bundle, axes, run, seed)
    return places, directions[places], margins[places], known


def _learnt(bundle: Bundle, axes: Axes, run: Run, seed: int) -> F32 | None:
    """Return the directions of training pictures, float32 (L, C), `CHUNK` at most, if this machine's cache holds any."""
    held = in_cache([digest for digest, part in bundle.splits if part == "train"], bundle.policy)
    if held is None:
        return None
    held = held.subset(np.random.default_rng(seed).permutation(len(held))[:CHUNK])
    found = unit(axes(outputs(bundle, held, run=run, label="")[1]))
    return np.asarray(found[np.isfinite(found).all(axis=1)], np.float32)


def margins_of(bundle: Bundle, probabilities: Floating) -> F64:
    """Return how far each answer is from another one, float64 (N,): the lead of the most probable class over the next.

    probabilities: (N, K). Of several labels it is the least distance of one from its threshold.
    """
    p = np.asarray(probabilities, np.float64)
    if bundle.task.several:
        return np.asarray(np.abs(p - np.asarray(bundle.config.thresholds, np.float64)).min(axis=1))
    best = np.sort(np.partition(p, -2, axis=1)[:, -2:], axis=1)
    return np.asarray(best[:, 1] - best[:, 0])


def _told(bundle: Bundle, pictures: Pictures, rows: I64, pixels: Pixels) -> tuple[Offer, ...]:
    """Return what the model says of the pictures that are offered."""
    found: list[Offer] = []
    for at in range(0, len(pixels), CHUNK):
        logits, _ = outputs(bundle, pixels.subset(np.arange(at, min(at + CHUNK, len(pixels)))), label="")
        p = bundle.activated(logits)
        for row, each, margin in zip(rows[at : at + CHUNK].tolist(), p, margins_of(bundle, p).tolist(), strict=True):
            guess = bundle.guess(each)
            found.append(Offer(str(pictures.keys[row]), guess.label or "", guess.p, margin))
    return tuple(found)
