"""The verb `evaluate` for detectors: how well boxes are found in pictures whose boxes are known."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.boxes import Boxes
from beholder.base.brief import cut, listed, within, without_secrets
from beholder.base.deadline import NEVER, Deadline
from beholder.base.display import html
from beholder.base.errors import DataError, PictureError
from beholder.base.limits import allow_as
from beholder.base.names import position
from beholder.base.order import stratified
from beholder.base.records import Bad, Pictures
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Finder, Looked
from beholder.bundle.kept import Kept
from beholder.data.boxed import sized
from beholder.data.split import unit_of
from beholder.evaluation.chosen import of_part, part_named
from beholder.evaluation.detected_scores import DetectionScores, scored
from beholder.evaluation.detected_summary import summary, table
from beholder.evaluation.remembered import counted, flattery, sampled
from beholder.evaluation.summary import Summary
from beholder.image.sandbox import decoders
from beholder.measure.detections import Detected, Found
from beholder.sources import scan
from beholder.sources.digest import digested

SCHEMA = 2
"""Version of the form of scores.json."""

BATCH, AHEAD = 8, 24
"""Pictures that the net is given at once, and pictures that are decoded ahead of it."""

LEAST, GRACE = 16, 0.5
"""Pictures that are tested, and seconds that the test may take, however little time there is."""


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """What a detector found in N pictures, and how good that is; no pixels are held.

    truth: the true boxes, in pixels of the upright pictures and in the detector's classes; found: all found boxes, with
    calibrated scores; pictures: the records of these N, in the classes of the source; sizes of the pictures: `truth.sizes`
    bad: pictures that could not be read and are in no score; unplaced: keys of pictures left out since they have another shape
    than the one their boxes were drawn at; thresholds: float (K,), from which score on a box of each class is told
    groups: int64 (N,), pictures that vary together; None: each stands alone; seconds: wall time, of reading and finding `each`
    readings, whole: as in `Evaluation`
    """

    scores: DetectionScores
    truth: Boxes
    found: Found
    pictures: Pictures = field(repr=False)
    thresholds: tuple[float, ...]
    source: str
    seconds: float
    each: float
    bad: tuple[Bad, ...] = ()
    unplaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    groups: I64 | None = field(default=None, repr=False)
    readings: int = 0
    whole: int = 0

    def __repr__(self) -> str:
        headline = [f"{name} {score}" for name, score in list(self.scores.headline.items())[:2]]
        return within("DetectionEvaluation", [*headline, f"{len(self.bad):,} unreadable" if self.bad else "", cut(self.source)])

    _repr_html_ = html

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the detector's classes."""
        return tuple(self.scores.classes)

    @property
    def keys(self) -> list[str]:
        """Return the names of the N pictures."""
        return list(self.pictures.keys)

    @property
    def summary(self) -> Summary:
        """Return findings, weaknesses and advice."""
        return summary(self.scores, bad=len(self.bad))

    @property
    def findings(self) -> list[str]:
        """Return what was found and what it is bad at, in sentences, the most important first."""
        return [*self.summary.findings, *self.summary.weaknesses]

    def json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values (docs/SCORES.md)."""
        return {
            "schema": SCHEMA,
            "task": "detect",
            "summary": self.summary.json(),
            "said": self.findings,
            **self.scores.json(),
            "source": self.source,
            "seconds": round(self.seconds, 3),
            "seconds_per_picture": round(self.each, 5),
            "readings": self.readings,
            "notes": list(self.notes),
            "unplaced": list(self.unplaced),
            "bad": [{"path": bad.key, "error": {"code": bad.code, "message": bad.message}} for bad in self.bad],
        }

    def __str__(self) -> str:
        return "\n".join([table(self.scores), "", *self.findings, *self.notes])


def evaluate(
    detector: Finder | str | Path,
    source: str | Path | Pictures,
    *,
    part: str = "test",
    until: Deadline = NEVER,
    seed: int = 0,
    allow_download: bool = False,
) -> DetectionEvaluation:
    """Score a detector on pictures with boxes, and count the reading if it is of the test part.

    detector: a `Detector`, another `Finder` (an export; all of a source then counts as test), or the path of a detector
    source, part, until, allow_download: as of `beholder.evaluation.evaluate.evaluate`; seed: of the resampling
    What cannot be read or placed is left out and said; a class without a box here has no score (NaN). Raises `UsageError` for
    an unknown part, `DataError` (empty-part, no-boxes, or other-classes: boxes of classes that the detector does not know).
    """
    began, part = time.monotonic(), part_named(part)
    detector = detector if isinstance(detector, Finder) else Detector.load(detector)
    pictures, known, notes = _pictures(detector, source, part, allow_download)
    truth = in_classes(pictures, detector.classes)
    seen = looked_through(detector.ready(), pictures, until)
    placed, right = sized(truth.take(seen.rows), seen.sizes)
    if not right.any():
        raise _none(pictures, seen)
    unplaced = [str(pictures.keys[row]) for row in seen.rows[~right].tolist()]
    whole = len(pictures) if len(seen.rows) + len(seen.bad) < len(pictures) else 0
    pictures, known = pictures.take(seen.rows[right]), [known[row] for row in seen.rows[right].tolist()]
    notes += [*_left_out(unplaced), *sampled(len(pictures), whole)]
    notes += [*flattery(detector, pictures), *counted(detector, known)] if isinstance(detector, Kept) else []
    keep = np.flatnonzero(right)
    found = _judged(detector, pictures, placed.take(keep), seen.found.take(keep), seed)
    return replace(
        found,
        seconds=time.monotonic() - began,
        each=seen.seconds / len(seen.rows),
        bad=seen.bad,
        unplaced=tuple(unplaced),
        notes=(*notes, *found.notes),
        readings=len(detector.readings) if isinstance(detector, Kept) and "test" in known else 0,
        whole=whole,
    )


def _judged(detector: Finder, pictures: Pictures, truth: Boxes, found: Found, seed: int) -> DetectionEvaluation:
    """Return the scores of what was found; pictures of one group, and exact duplicates, vary together."""
    units, thresholds = _units(pictures), detector.config.thresholds
    scores = scored(truth, found, detector.classes, thresholds, groups=units, seed=seed)
    _tell(scores)
    notes, source = tuple(_grouped(units)), without_secrets(pictures.store.name)
    return DetectionEvaluation(scores, truth, found, pictures, thresholds, source, 0.0, 0.0, notes=notes, groups=units)


def _pictures(
    detector: Finder, source: str | Path | Pictures, part: str, download: bool
) -> tuple[Pictures, list[str], list[str]]:
    """Return the pictures to score, the part that the bundle's split has each in, and notes."""
    if isinstance(detector, Kept):
        allow_as(detector.recipe.data)
    read = source if isinstance(source, Pictures) else scan(source, allow_download=download)
    if read.boxes is None:
        hint = "COCO, Pascal VOC, YOLO and tables with xmin,ymin,xmax,ymax have some: docs/DETECTION.md"
        raise DataError(f"there are no boxes in {read.store.name}", code="no-boxes", hint=hint)
    pictures = digested(read)
    if isinstance(detector, Kept):
        return of_part(detector, pictures, "all" if isinstance(source, Pictures) else part)
    if not len(pictures):
        raise DataError("there is no picture to score", code="empty-part", hint="give more pictures")
    return pictures, [""] * len(pictures), []


def in_classes(pictures: Pictures, classes: Sequence[str]) -> Boxes:
    """Return the boxes of pictures in the order of `classes`, matched by name.

    Raises `DataError` (other-classes) for boxes of a class that is not among them.
    """
    boxes = pictures.boxes
    assert boxes is not None
    places = np.array([position(name, classes) for name in pictures.classes], np.int64)
    moved = places[boxes.classes] if len(boxes.classes) else boxes.classes
    if (moved < 0).any():
        unknown = [pictures.classes[k] for k in np.unique(boxes.classes[moved < 0]).tolist()]
        what = f"{(moved < 0).sum()} boxes are of classes that the detector does not know: {listed(unknown)}"
        raise DataError(what, code="other-classes", hint=f"leave them out or rename them; it knows: {', '.join(classes[:20])}")
    return replace(boxes, classes=moved)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a detector found in the pictures that it could read.

    rows: int64 (n,), of the pictures, ascending; found: in their own pixels, calibrated; sizes: int64 (n, 2), width and height
    seconds: from the first picture's reading to the last one's boxes
    """

    rows: I64
    found: Found
    sizes: I64
    bad: tuple[Bad, ...]
    seconds: float


def looked_through(detector: Finder, pictures: Pictures, until: Deadline = NEVER) -> Seen:
    """Return what a detector finds in pictures; decoding runs ahead of the net in threads, and only boxes are kept.

    until: when it should be over; the pictures are then taken in an order of which each class has its share of any part
    """
    began, until = time.monotonic(), until if until.none else until.at_least(GRACE)
    order = np.arange(len(pictures)) if until.none else stratified(pictures.targets)
    rows, found, sizes, bad = list[int](), list[Detected](), list[tuple[int, int]](), list[Bad]()
    for work in _ahead(detector, pictures, order.tolist()):
        some, here = list[Looked](), list[int]()
        for row, future in work:
            try:
                some.append(future.result())
                here.append(row)
            except PictureError as error:
                bad.append(Bad(str(pictures.keys[row]), error.code, error.message))
        for one, answer in zip(some, detector.found(np.stack([each.pixels for each in some])) if some else [], strict=True):
            found.append(detector.own(answer, one.size)._replace(scores=detector.calibrated(answer.scores)))
            sizes.append(one.size)
        rows += here
        events.progress("test", len(rows) + len(bad), len(pictures))
        if until.passed and len(rows) >= LEAST:
            break
    back = np.argsort(np.array(rows, np.int64), kind="stable")
    ordered = Found.of(found).take(back)
    wide = np.array(sizes, np.int64).reshape(-1, 2)[back]
    return Seen(np.array(rows, np.int64)[back], ordered, wide, tuple(bad), time.monotonic() - began)


def _ahead(detector: Finder, pictures: Pictures, order: Sequence[int]) -> Iterator[list[tuple[int, Future[Looked]]]]:
    """Yield batches of pictures that are being decoded, `AHEAD` of them at most."""

    def look(row: int) -> Looked:
        return detector.looked(pictures.store.read(pictures.keys[row]))

    with decoders() as (pool, _):
        waiting: deque[tuple[int, Future[Looked]]] = deque()
        for row in order:
            waiting.append((row, pool.submit(look, row)))
            if len(waiting) >= AHEAD:
                yield [waiting.popleft() for _ in range(BATCH)]
        while waiting:
            yield [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]


def _units(pictures: Pictures) -> I64 | None:
    """Return the unit of each picture, groups and exact duplicates; None where each stands alone."""
    units = unit_of(pictures)
    return units if len(np.unique(units)) < len(units) else None


def _grouped(units: I64 | None) -> list[str]:
    return [] if units is None else [f"Intervals resample {len(np.unique(units))} groups of pictures, not single pictures."]


def _left_out(unplaced: Sequence[str]) -> list[str]:
    if not unplaced:
        return []
    n, which = len(unplaced), listed(unplaced, most=3)
    return [f"{n} pictures have another shape than the one their boxes were drawn at, and are left out: {which}"]


def _none(pictures: Pictures, seen: Seen) -> DataError:
    """Return the error for pictures of which none can be scored."""
    why = "they have another shape than the one their boxes were drawn at"
    if seen.bad:
        why = f"{len(seen.bad)} cannot be read, such as {seen.bad[0].key}: {seen.bad[0].message}"
    what = f"none of the {len(pictures)} pictures of {pictures.store.name} can be scored: {why}"
    return DataError(what, code="empty-part", hint="beholder audit says what is wrong with each file")


def _tell(scores: DetectionScores) -> None:
    """Hand out the headline scores: value, low and high of each that is defined."""
    ends = ("value", ""), ("low", "_low"), ("high", "_high")
    flat = {name + end: getattr(score, what) for name, score in scores.headline.items() for what, end in ends}
    events.figures("scores", n=scores.n, **flat)
