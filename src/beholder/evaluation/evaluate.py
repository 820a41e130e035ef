"""The verb `evaluate`: how good a bundle is on labelled pictures, each figure with its interval and n."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F32, I8, I64, U8, Bools
from beholder.base.brief import cut, within, without_secrets
from beholder.base.deadline import NEVER, Deadline
from beholder.base.display import html
from beholder.base.errors import UsageError
from beholder.base.limits import allow_as
from beholder.base.order import stratified
from beholder.base.records import Bad, Pictures, Score
from beholder.bundle.bundle import Bundle, opened
from beholder.data.cache import Pixels, cached
from beholder.data.known import confirmed, hashes, in_cache, maybe_known, none, units
from beholder.duplicates.hashing import ALIKE
from beholder.evaluation.chosen import chosen, part_named
from beholder.evaluation.remarks import remarks
from beholder.evaluation.remembered import counted, flattery, sampled
from beholder.evaluation.summary import summary
from beholder.evaluation.words import Words
from beholder.measure.scores import Scores
from beholder.runtime.inference import from_least, outputs
from beholder.sources import scan
from beholder.sources.digest import digested

SCHEMA = 2
"""Version of the form of scores.json (evaluation/scores.schema.json)."""


def _none() -> F32:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a bundle said of N labelled pictures.

    probabilities: float32 (N, K) in the order of the bundle's classes; targets: int64 (N,) or uint8 (N, K); keys: N names.
    bad: pictures that could not be read and are in no score; source: what was tested; seconds: wall time of it.
    pixels, pictures: what the net was given, and the records of the same N pictures; logits: float32 (N, K), not calibrated;
    features: float32 (N, F), what the last layer was given; used: bool (N,), trained or chosen on; alike: bool (N,), look the
    same as a picture that was; sections: what `evaluation.sections` found beyond the scores.
    unleaked: name → score without the pictures that have duplicates in other parts of the source; None where there are none.
    readings: how often the bundle's test part was read, this time included; 0 where none of these pictures is of it.
    whole: how many pictures there were, of which there was time for N; 0: for all.
    """

    scores: Scores
    probabilities: F32
    targets: I64 | U8
    keys: list[str]
    bad: tuple[Bad, ...]
    seconds: float
    source: str
    notes: tuple[str, ...] = ()
    pixels: Pixels | None = field(default=None, repr=False)
    pictures: Pictures | None = field(default=None, repr=False)
    logits: F32 = field(default_factory=_none, repr=False)
    features: F32 = field(default_factory=_none, repr=False)
    used: Bools = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    alike: Bools = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    sections: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    unleaked: Mapping[str, Score] | None = None
    readings: int = 0
    whole: int = 0

    def __repr__(self) -> str:
        headline = [f"{name} {score}" for name, score in self.scores.headline.items()]
        return within("Evaluation", [*headline[:2], f"{len(self.bad):,} unreadable" if self.bad else "", cut(self.source)])

    _repr_html_ = html

    @property
    def groups(self) -> I64 | None:
        """Return the group of each picture, int64 (N,), -1 where one has none; None where no picture has one."""
        given = self.pictures is not None and (self.pictures.groups >= 0).any()
        return self.pictures.groups if self.pictures is not None and given else None

    def thumbnail(self, index: int) -> U8:
        """Return what the net was given of picture `index`: uint8 (C, H, W)."""
        if self.pixels is None:
            raise UsageError("the pictures were not kept", code="no-pixels", hint="evaluate them again")
        picture: U8 = self.pixels.take(np.array([index]))[0]
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
        standing = remarks({name: self.sections[name] for name in ("shortcuts",) if name in self.sections}, Words("en"))
        return "\n".join([str(self.scores), *(text for one in standing for text in one.findings), *self.notes])


def evaluate(
    bundle: Bundle | str | Path,
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    part: str = "test",
    allow_download: bool = False,
    until: Deadline = NEVER,
) -> Evaluation:
    """Score `bundle` on `source`, and count the reading if it is of the test part.

    source: Pictures (all of them are scored), or what `scan` takes: there `part` says which (train | val | test | all).
    allow_download: fetch a source that is not on this machine
    until: when it should be over; where there is no time for all pictures, a stratified sample is scored, and that is said
    Which part a picture is in, the bundle's own split says, then the source's; pictures that neither knows count as test.
    Raises `UsageError` for an unknown part, `DataError` when nothing is left to score or the classes do not fit.
    """
    began, part, bundle = time.monotonic(), part_named(part), opened(bundle)
    allow_as(bundle.recipe.data)
    read = source if isinstance(source, Pictures) else scan(source, allow_download=allow_download)
    pictures, known, notes = chosen(bundle, digested(read.with_labels()), "all" if isinstance(source, Pictures) else part)
    pixels, logits, features, bad = _outputs(bundle, pictures, until)
    whole = len(pictures) if len(pixels) + len(bad) < len(pictures) else 0
    pictures, known = pixels.of(pictures), [known[i] for i in pixels.rows.tolist()]
    notes += [*sampled(len(pictures), whole), *flattery(bundle, pictures), *counted(bundle, known)]
    found = _judged(bundle, pictures, pixels, logits, features)
    _tell(found.scores)
    return replace(
        found,
        bad=bad,
        seconds=time.monotonic() - began,
        notes=(*notes, *found.notes),
        readings=len(bundle.readings) if "test" in known else 0,
        whole=whole,
    )


def _tell(scores: Scores) -> None:
    """Hand out the headline scores: value, low and high of each."""
    ends = ("value", ""), ("low", "_low"), ("high", "_high")
    flat = {name + end: getattr(score, what) for name, score in scores.headline.items() for what, end in ends}
    events.figures("scores", n=scores.n, **flat)


def _judged(bundle: Bundle, pictures: Pictures, pixels: Pixels, logits: F32, features: F32) -> Evaluation:
    """Return the scores of logits, and what is known of pictures that the bundle was trained on or that look like those."""
    probabilities, seen = bundle.activated(logits), hashes(pixels)
    used = np.array(bundle.used(pictures.hexdigests), bool)
    alike, unsure = _alike(bundle, pixels, seen, used)
    return Evaluation(
        scored(bundle, probabilities, pictures, pixels, seen),
        probabilities,
        pictures.targets,
        list(pictures.keys),
        (),
        0.0,
        without_secrets(pictures.store.name),
        (*_apart(bundle, probabilities, pictures, used, alike), *unsure),
        pixels,
        pictures,
        logits,
        features,
        used,
        alike,
    )


def beside_leaks(bundle: Bundle, evaluation: Evaluation, pictures: Pictures, leaked: Collection[str]) -> Evaluation:
    """Return the evaluation with its scores without the pictures `leaked`, by key, that have duplicates in other parts.

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
    note = f"{n} of these pictures have duplicates in the other parts of the source; without them: {name} {value}"
    return replace(evaluation, notes=(*evaluation.notes, note), unleaked=scores.headline)


def scored(
    bundle: Bundle, probabilities: F32, pictures: Pictures, pixels: Pixels | None = None, seen: I8 | None = None
) -> Scores:
    """Return the scores of float32 (N, K); pictures of one group, and duplicates, count as one observation.

    pixels, seen: the N pictures and their hashes, int8 (N, 64), for near-duplicates; None: only exact duplicates are known
    """
    groups = units(pictures, pixels, none() if seen is None else seen)
    return bundle.task.score(
        probabilities, pictures.targets, bundle.classes, thresholds=bundle.config.thresholds, groups=groups
    )


def _alike(bundle: Bundle, pixels: Pixels, seen: I8, used: Bools) -> tuple[Bools, list[str]]:
    """Return which pictures look the same as one that was trained or chosen on, bool (N,), and a note where that is unknown."""
    rows = np.flatnonzero(~used)
    alike, seen = np.zeros(len(used), bool), seen[rows]
    close = maybe_known(seen, bundle.hashes)
    if not len(bundle.hashes) or not maybe_known(seen, bundle.hashes, least=ALIKE).any():
        return alike, []
    digests = [digest for digest, part in bundle.splits if part != "test"]
    held = in_cache(digests, bundle.policy)
    if held is not None:
        alike[rows] = confirmed(pixels.subset(rows), seen, held, hashes(held))
    n = int((close & ~alike[rows]).sum())
    if not n or (held is not None and len(held) == len(digests)):
        return alike, []
    words = "picture has a perceptual hash" if n == 1 else "pictures have perceptual hashes"
    return alike, [
        f"{n} {words} close to one used in training or validation; whether the pixels are the same cannot be told without "
        "those pictures, which this machine's cache does not hold"
    ]


def _apart(bundle: Bundle, probabilities: F32, pictures: Pictures, used: Bools, alike: Bools) -> list[str]:
    """Return a note on pictures that look the same as one that was trained on, and on the score without them and those used."""
    new = ~(used | alike)
    if not alike.any() or not new.any():
        return []
    name, value = next(iter(scored(bundle, probabilities[new], pictures.take(np.flatnonzero(new))).headline.items()))
    rest = "these and those that were" if used.any() else "these"
    return [f"{alike.sum()} pictures look the same as one used in training or validation; without {rest}: {name} {value}"]


LEAST, GRACE = 64, 0.5
"""Pictures that are tested, and seconds that the test may take, however little time there is."""

DECODING = 0.4
"""Share of the time in which the pictures are decoded, where there may not be time for all."""


def _outputs(bundle: Bundle, pictures: Pictures, until: Deadline) -> tuple[Pixels, F32, F32, tuple[Bad, ...]]:
    """Return the pixels of those that were given to the net, its logits and features of them, and what cannot be read."""
    data = bundle.recipe.data
    if until.none:
        pixels = cached(pictures, bundle.policy, on_bad=data.on_bad, workers=data.workers)
        return pixels, *outputs(bundle, pixels), pixels.bad
    order, done, until = stratified(pictures.targets), 0, until.at_least(GRACE)
    decoding = until.within(DECODING * until.left)

    def decoded() -> bool:
        nonlocal done
        done += 1
        return done >= LEAST and decoding.passed

    pixels = cached(pictures, bundle.policy, on_bad=data.on_bad, workers=data.workers, enough=decoded, order=order)
    ranks = np.argsort(order)[pixels.rows]
    places = np.argsort(ranks)[: int((ranks < _unbroken(order, pictures, pixels)).sum())]
    late = from_least(LEAST, lambda: until.passed)
    logits, features = outputs(bundle, pixels.subset(places), enough=late, seconds=until.left)
    places = places[: len(logits)]
    back = np.argsort(places)
    return pixels.subset(places[back]), logits[back], features[back], pixels.bad


def _unbroken(order: I64, pictures: Pictures, pixels: Pixels) -> int:
    """Return how many pictures from the start of the order were decoded or cannot be.

    The cache may hold others beyond them, such as those of one class: with these the sample would not be stratified.
    """
    bad = {one.key for one in pixels.bad}
    here = np.array([key in bad for key in pictures.keys], bool)
    here[pixels.rows] = True
    gaps = np.flatnonzero(~here[order])
    return int(gaps[0]) if len(gaps) else len(order)
