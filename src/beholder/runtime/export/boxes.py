"""Export of a detector: built, compared with the net on pictures, and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64, U8
from beholder.base.boxes import Boxes
from beholder.base.errors import BundleError, DataError, PictureError, UsageError
from beholder.base.files import sha256
from beholder.base.records import Pictures, Score
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Finder, Looked
from beholder.data.boxed import fitted, sized
from beholder.measure.detection_matching import matched
from beholder.measure.detection_precision import average_precision
from beholder.measure.detections import Detected, Found
from beholder.measure.intervals import wilson
from beholder.runtime import exports, finders
from beholder.runtime.export.samples import cut_pieces
from beholder.runtime.export.writing import Written, checked, written
from beholder.runtime.finders import ExportedFinder, opened
from beholder.sources import scan
from beholder.sources.digest import digested

TRIED = 200
"""Pictures to try an export on, and to calibrate int8 on, at most."""

PIECES = 64
"""Pieces of photographs, where no source is named."""


@dataclass(frozen=True, eq=False)
class Sample:
    """N pictures to try an export on.

    looked: as the net is given them; truth: their boxes in pixels of the net, None where they are not known
    training: uint8 (M, C, height, width) to quantise on, M 0 where no source is named; what: in words
    """

    looked: list[Looked]
    truth: Boxes | None
    training: U8
    what: str

    @property
    def images(self) -> U8:
        """Return uint8 (N, C, height, width)."""
        return np.stack([each.pixels for each in self.looked])


@dataclass(frozen=True)
class Parity:
    """What separates an export from its detector on the same pictures.

    same: share of boxes that both find, as `finders.SAME` and `finders.CLOSE` have it; told: the same of those whose score
    reaches the threshold of their class, at an overlap of 0.5; n: pictures; ap: average precision of the detector and of the
    export, where true boxes are known; what: the pictures, in words
    """

    same: Score
    told: Score
    n: int
    ap: tuple[float, float] | None
    what: str

    @property
    def loss(self) -> float:
        """Return the average precision that is lost; 0 where true boxes are not known."""
        return self.ap[0] - self.ap[1] if self.ap else 0.0

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found: dict[str, Any] = {"pictures": self.what, "n": self.n, "same": self.same.json(), "told": self.told.json()}
        if self.ap is not None:
            found["ap"] = {"bundle": self.ap[0], "export": self.ap[1], "loss": self.loss}
        return found

    def __str__(self) -> str:
        rule = f"IoU ≥ {finders.SAME:g}, score within {finders.CLOSE:g}"
        lines = [
            f"on {self.what}:",
            f"  the same boxes ({rule}): {self.same}",
            f"  of those that are told, both tell {self.told}",
        ]
        if self.ap is not None:
            lines.append(f"  average precision: {self.ap[1]:.3f} instead of {self.ap[0]:.3f}")
        return "\n".join(lines)


def export(
    detector: Detector,
    out: str | Path | None = None,
    *,
    to: str = "onnx",
    precision: str = "fp32",
    like: str | Path | Pictures | None = None,
    force: bool = False,
    allow_download: bool = False,
) -> Written:
    """Write the detector as one ONNX graph, after it has found the detector's boxes, and return what was written.

    All else is as `runtime.export.export` has it; how near it has to come says `finders.fault`.
    Raises `UsageError`, and `BundleError` (not-the-same, not-exportable) as that does.
    """
    if to != "onnx":
        hint = "--to onnx writes one graph with all in it"
        raise UsageError(f"a detector cannot be exported to {to}", code="unknown-export", hint=hint)
    checked(detector, out, to, precision, like)
    from beholder.runtime.export.found import encoded

    tried = sample(detector, like, allow_download=allow_download)
    if precision == "int8" and not len(tried.training):
        raise UsageError("none of those pictures is of training", code="needs-pictures", hint="int8 is calibrated on some")
    data = encoded(detector, precision=precision, training=tried.training)
    run, _ = opened(data, Path(exports.GRAPH))
    found = parity(detector, ExportedFinder(detector.config, run), tried)
    try:
        check(found, precision)
    except BundleError as error:
        if not force:
            raise
        events.warn(error.message)
    facts = {"to": to, "precision": precision, "opset": exports.OPSET, "parity": found.json()}
    path = written(detector, out, exports.name(to, precision), [data], facts)
    return Written(path, to, {**facts, "bytes": len(data), "sha256": sha256(data)}, found)


def parity(detector: Finder, export: Finder, tried: Sample) -> Parity:
    """Return how near an export comes to its detector."""
    images, size = tried.images, (detector.policy.width, detector.policy.height)
    ours, theirs = ([finder.own(row, size) for row in finder.found(images)] for finder in (detector, export))
    told = [[_told(detector, row) for row in rows] for rows in (ours, theirs)]
    pairs = (finders.same(ours, theirs), finders.same(told[0], told[1], overlap=0.5, close=1.0))
    same, both = (wilson(right, most) if most else Score(1.0, 0.0, 1.0, 0) for right, most in pairs)
    return Parity(same, both, len(images), _precisions(tried.truth, ours, theirs, len(detector.classes)), tried.what)


def check(found: Parity, precision: str) -> None:
    """Raise `BundleError` (not-the-same) where the export is not near enough to its detector (`finders.fault`)."""
    if wrong := finders.fault(found.json(), precision):
        hint = "--force writes it all the same; another precision may do better"
        raise BundleError(f"the export is not the bundle: {wrong}", code="not-the-same", hint=hint)


def sample(
    detector: Detector, like: str | Path | Pictures | None = None, *, seed: int = 0, allow_download: bool = False
) -> Sample:
    """Return pictures to try exports of a detector on.

    like: what it was trained on: validation pictures first, then those of training; at most `TRIED`. The test part is not
    touched. None: pieces of the two photographs that come with scikit-learn. allow_download: as of `scan`.
    Raises `DataError` where the source has no picture that was trained or chosen on.
    """
    if like is None:
        pieces = [detector.looked(piece) for piece in cut_pieces(PIECES, seed)]
        return Sample(pieces, None, _stacked(detector, []), f"{PIECES} pieces of two photographs")
    pictures = digested(like if isinstance(like, Pictures) else scan(like, labels=None, allow_download=allow_download))
    known = np.array(detector.part_of(pictures.hexdigests))
    rng = np.random.default_rng(seed)
    valid, train = (rng.permutation(np.flatnonzero(known == part))[:TRIED] for part in ("valid", "train"))
    tried = np.concatenate([valid, train[: TRIED - len(valid)]]).astype(np.int64)
    if not len(tried):
        text = f"{pictures.store.name} has no picture that this bundle was trained or chosen on"
        raise DataError(text, code="other-source", hint="name with --like what it was trained on")
    kept, looked = _looked(detector, pictures, tried)
    words = [(part, int((known[kept] == part).sum())) for part in ("valid", "train")]
    what = " and ".join(f"{n} pictures of {part}" for part, n in words if n)
    training = _stacked(detector, _looked(detector, pictures, train)[1])
    return Sample(looked, _truth(detector, pictures.take(kept), looked), training, what)


def _looked(detector: Detector, pictures: Pictures, rows: I64) -> tuple[I64, list[Looked]]:
    """Return which of the rows can be read, and what was read."""
    kept, found = [], []
    for row in rows.tolist():
        try:
            found.append(detector.looked(pictures.store.read(pictures.keys[row])))
        except PictureError:
            continue
        kept.append(row)
    return np.array(kept, np.int64), found


def _stacked(detector: Detector, looked: list[Looked]) -> U8:
    policy = detector.policy
    shape = (0, policy.channels, policy.height, policy.width)
    return np.stack([each.pixels for each in looked]) if looked else np.zeros(shape, np.uint8)


def _truth(detector: Detector, pictures: Pictures, looked: list[Looked]) -> Boxes | None:
    """Return the true boxes in pixels of the net; None where the source has none, or other classes."""
    if pictures.boxes is None or pictures.classes != detector.classes:
        return None
    sizes = np.array([each.size for each in looked], np.int64).reshape(-1, 2)
    return fitted(sized(pictures.boxes, sizes)[0], detector.policy)


def _told(finder: Finder, row: Detected) -> Detected:
    keep = finder.calibrated(row.scores) >= np.asarray(finder.config.thresholds)[row.classes]
    return Detected(row.corners[keep], row.classes[keep], row.scores[keep])


def _precisions(truth: Boxes | None, ours: list[Detected], theirs: list[Detected], classes: int) -> tuple[float, float] | None:
    if truth is None or not len(truth.classes):
        return None
    each = (average_precision(matched(truth, Found.of(rows), classes, sizes=("all",))) for rows in (ours, theirs))
    before, after = (float(np.nanmean(table)) for table in each)
    return before, after
