"""The verb `evaluate`: how good a bundle is on labelled pictures, each figure with its interval and n."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, UsageError, did_you_mean
from beholder.base.records import PARTS, Bad, Pictures, Score
from beholder.bundle.bundle import Bundle
from beholder.data.cache import Pixels, cached
from beholder.data.digest import digested
from beholder.data.kin import hashes, looks_known, none, units
from beholder.data.sources import scan
from beholder.machine.device import device
from beholder.measure.scores import Scores, multi, single
from beholder.use.summary import summary

_CHUNK = 1024

SCHEMA = 1
"""Version of the form of scores.json (use/scores.schema.json)."""


def _none() -> npt.NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a bundle said of N labelled pictures.

    probabilities: float32 (N, K) in the order of the bundle's classes; targets: int64 (N,) or uint8 (N, K); keys: N names.
    bad: pictures that could not be read and are in no score; source: what was tested; seconds: wall time of it.
    pixels, pictures: what the net was given, and the records of the same N pictures; logits: float32 (N, K), not calibrated;
    features: float32 (N, F), what the last layer was given; used: bool (N,), trained or chosen on; alike: bool (N,), look the
    same as a picture that was; sections: what `use.sections` found beyond the scores.
    unleaked: name → score without the pictures that have twins in other parts of the source; None where there are none.
    readings: how often the bundle's test part was read, this time included; 0 where none of these pictures is of it.
    """

    scores: Scores
    probabilities: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64] | npt.NDArray[np.uint8]
    keys: list[str]
    bad: tuple[Bad, ...]
    seconds: float
    source: str
    notes: tuple[str, ...] = ()
    pixels: Pixels | None = field(default=None, repr=False)
    pictures: Pictures | None = field(default=None, repr=False)
    logits: npt.NDArray[np.float32] = field(default_factory=_none, repr=False)
    features: npt.NDArray[np.float32] = field(default_factory=_none, repr=False)
    used: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    alike: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    sections: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    unleaked: Mapping[str, Score] | None = None
    readings: int = 0

    def thumbnail(self, index: int) -> npt.NDArray[np.uint8]:
        """Return what the net was given of picture `index`: uint8 (C, H, W)."""
        if self.pixels is None:
            raise UsageError("the pictures were not kept", code="no-pixels", hint="evaluate them again")
        picture: npt.NDArray[np.uint8] = self.pixels.take(np.array([index]))[0]
        return picture

    def json(self) -> dict[str, Any]:
        """Return scores.json as plain JSON values, as docs/SCORES.md and scores.schema.json describe it."""
        unleaked = {name: score.json() for name, score in (self.unleaked or {}).items()}
        bad = [{"path": bad.key, "error": {"code": bad.code, "message": bad.message}} for bad in self.bad]
        said = summary(self.scores, self.sections, bad=len(bad), unleaked=self.unleaked)
        return {
            "schema": SCHEMA,
            "summary": said.json(),
            **self.scores.json(),
            **({"without_leaks": unleaked} if unleaked else {}),
            "source": self.source,
            "seconds": round(self.seconds, 3),
            "bad": bad,
            "remarks": list(self.notes),
            "sections": dict(self.sections),
        }

    def __str__(self) -> str:
        return "\n".join([str(self.scores), *self.notes])


def evaluate(
    bundle: Bundle, source: str | Path | tuple[Any, Any] | Pictures, *, part: str = "test", allow_download: bool = False
) -> Evaluation:
    """Score `bundle` on `source`, and count the reading if it is of the test part.

    source: Pictures (all of them are scored), or what `scan` takes: there `part` says which (train | valid | test | all).
    allow_download: fetch a source that is not on this machine
    Which part a picture is in, the bundle's own split says, then the source's; pictures that neither knows count as test.
    Raises `UsageError` for an unknown part, `DataError` when nothing is left to score or the classes do not fit.
    """
    began = time.monotonic()
    if part not in (*PARTS, "all"):
        raise UsageError(f"there is no part '{part}'", code="unknown-part", hint=did_you_mean(part, (*PARTS, "all")))
    given = isinstance(source, Pictures)
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    notes: list[str] = []
    known = _parts_of(bundle, pictures)
    if not given:
        rows = _chosen(known, pictures, part, notes)
        pictures, known = pictures.take(rows), [known[i] for i in rows.tolist()]
    pictures = _in_classes_of(bundle, pictures)
    if not len(pictures):
        raise DataError("there is no picture to score", code="empty-part", hint="give more pictures, or a larger data.test")
    pixels = cached(pictures, bundle.policy, on_bad=bundle.recipe.data.on_bad, workers=bundle.recipe.data.workers)
    pictures, known = pictures.take(pixels.rows), [known[i] for i in pixels.rows.tolist()]
    notes += _flattery(bundle, pictures)
    logits, features = _outputs(bundle, pixels)
    probabilities = bundle.activated(logits)
    notes += _count(bundle, known)
    seen = hashes(pixels)
    used = np.array(bundle.used(_hexes(pictures)), bool)
    alike = looks_known(seen, bundle.likeness) & ~used
    scores = scored(bundle, probabilities, pictures, seen)
    notes += _apart(bundle, probabilities, pictures, used, alike)
    name = pictures.store.name
    return Evaluation(
        scores,
        probabilities,
        pictures.targets,
        list(pictures.keys),
        pixels.bad,
        time.monotonic() - began,
        name,
        tuple(notes),
        pixels,
        pictures,
        logits,
        features,
        used,
        alike,
        readings=len(bundle.readings) if "test" in known else 0,
    )


def beside_leaks(bundle: Bundle, evaluation: Evaluation, pictures: Pictures, leaked: Collection[str]) -> Evaluation:
    """Return the evaluation with its scores without the pictures `leaked`, by key, that have twins in other parts.

    pictures: those that were evaluated, the unreadable ones too
    """
    stays = np.array([key not in leaked for key in evaluation.keys], bool)
    if stays.all() or not stays.any():
        return evaluation
    index = {key: row for row, key in enumerate(pictures.keys)}
    rest = pictures.take(np.array([index[key] for key in evaluation.keys])[stays])
    scores = scored(bundle, evaluation.probabilities[stays], rest)
    name, value = next(iter(scores.headline.items()))
    n = int((~stays).sum())
    note = f"{n} of these pictures have twins in the other parts of the source; without them: {name} {value}"
    return replace(evaluation, notes=(*evaluation.notes, note), unleaked=scores.headline)


def scored(
    bundle: Bundle,
    probabilities: npt.NDArray[np.float32],
    pictures: Pictures,
    seen: npt.NDArray[np.int8] | None = None,
) -> Scores:
    """Return the scores of float32 (N, K); pictures of one group, and twins, count as one observation.

    seen: hashes of the pictures, int8 (N, 64), by which near twins are known; None: only exact twins are
    """
    groups = units(pictures, none() if seen is None else seen)
    if bundle.multi:
        return multi(probabilities, pictures.targets, bundle.classes, thresholds=bundle.config["thresholds"], groups=groups)
    return single(probabilities, pictures.targets, bundle.classes, groups=groups)


def _flattery(bundle: Bundle, pictures: Pictures) -> list[str]:
    """Return a note, and warn, where pictures (or exact twins of them) were trained or chosen on."""
    used = sum(bundle.used(_hexes(pictures)))
    if not used:
        return []
    note = f"{used} of these {len(pictures)} pictures were used in training or validation: the scores flatter."
    events.warn(note, hint="--part test leaves out those that are not also in the test part")
    return [note]


def _apart(
    bundle: Bundle,
    probabilities: npt.NDArray[np.float32],
    pictures: Pictures,
    used: npt.NDArray[np.bool_],
    alike: npt.NDArray[np.bool_],
) -> list[str]:
    """Return a note on pictures that look the same as one that was trained on, and on the score without them and those used."""
    new = ~(used | alike)
    if not alike.any() or not new.any():
        return []
    name, value = next(iter(scored(bundle, probabilities[new], pictures.take(np.flatnonzero(new))).headline.items()))
    rest = "these and those that were" if used.any() else "these"
    return [f"{alike.sum()} pictures look the same as one used in training or validation; without {rest}: {name} {value}"]


def _hexes(pictures: Pictures) -> list[str]:
    return [] if pictures.digests is None else [row.tobytes().hex() for row in pictures.digests]


def _parts_of(bundle: Bundle, pictures: Pictures) -> list[str]:
    return bundle.part_of(_hexes(pictures)) or [""] * len(pictures)


def _chosen(known: list[str], pictures: Pictures, part: str, notes: list[str]) -> npt.NDArray[np.int64]:
    """Return the rows that are of `part`: by the bundle's split, else by the source's; strangers to both count as test."""
    own = [PARTS[p] if p >= 0 else "test" for p in pictures.parts.tolist()]
    parts = np.array([k or o for k, o in zip(known, own, strict=True)])
    rows = np.arange(len(pictures)) if part == "all" else np.flatnonzero(parts == part)
    if not len(rows):
        raise DataError(
            f"no picture of {pictures.store.name} is in the {part} part",
            code="empty-part",
            hint="--part all scores every picture; those it was trained on flatter it",
        )
    if len(rows) < len(pictures):
        notes.append(f"{len(rows)} of {len(pictures)} pictures are in the {part} part; the others are not scored.")
    return rows


def _in_classes_of(bundle: Bundle, pictures: Pictures) -> Pictures:
    """Return the pictures with targets in the order of the bundle's classes, matched by name."""
    unknown = [name for name in pictures.classes if name not in bundle.classes]
    if unknown and len(unknown) == len(pictures.classes):
        hint = "the bundle knows: " + ", ".join(bundle.classes[:20])
        raise DataError(
            f"none of the source's classes is known to the bundle: {', '.join(unknown[:5])}", code="other-classes", hint=hint
        )
    if pictures.multi and not bundle.multi:
        raise DataError(
            "the source has several labels for a picture, the bundle gives one",
            code="other-task",
            hint="train a bundle on such a source",
        )
    places = np.array([bundle.classes.index(name) if name in bundle.classes else -1 for name in pictures.classes], np.int64)
    if pictures.multi or bundle.multi:
        return _multi_in_classes_of(bundle, pictures, places)
    targets = places[pictures.targets]
    if (targets < 0).any():
        count = int((targets < 0).sum())
        raise DataError(
            f"{count} pictures are of classes that the bundle does not know: {', '.join(unknown[:5])}",
            code="other-classes",
            hint="leave them out; the bundle knows: " + ", ".join(bundle.classes[:20]),
        )
    return _replaced(pictures, targets, bundle.classes)


def _multi_in_classes_of(bundle: Bundle, pictures: Pictures, places: npt.NDArray[np.int64]) -> Pictures:
    hot = pictures.targets if pictures.multi else np.eye(len(pictures.classes), dtype=np.uint8)[pictures.targets]
    lost = int(hot[:, places < 0].any(axis=1).sum())
    if lost:
        events.warn(f"{lost} pictures carry labels that the bundle does not know; those labels are not scored")
    targets = np.zeros((len(pictures), len(bundle.classes)), np.uint8)
    targets[:, places[places >= 0]] = hot[:, places >= 0]
    return _replaced(pictures, targets, bundle.classes)


def _replaced(pictures: Pictures, targets: npt.NDArray[Any], classes: tuple[str, ...]) -> Pictures:
    return Pictures(
        pictures.store, pictures.keys, targets, classes, pictures.parts, pictures.groups, pictures.digests, pictures.notes
    )


def _outputs(bundle: Bundle, pixels: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    home = next(bundle.net.parameters()).device
    moved = bundle.to(device())
    rows = []
    for start in range(0, len(pixels), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(pixels)))
        rows.append(moved.outputs(pixels.take(positions)))
        events.progress("testing", int(positions[-1]) + 1, len(pixels))
    bundle.to(home)
    return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])


def _count(bundle: Bundle, known: list[str]) -> list[str]:
    tested = known.count("test")
    if not tested:
        return []
    bundle.count_reading(tested, datetime.now(UTC).isoformat(timespec="seconds"))
    times = len(bundle.readings)
    if times == 1:
        return ["The test part was read once: this time."]
    return [f"The test part has now been read {times} times; each look back at it makes its scores flatter than the future."]
