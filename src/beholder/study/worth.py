"""What made pictures are worth: by recognition, by the features of a named recogniser, and beside training pictures.

The classification accuracy score (S. Ravuri & O. Vinyals, NeurIPS 2019) trains the recipe `sprint`, as it is, on as many made
pictures as there are training pictures and tests on real ones. The kernel distance is taken in the features of a backbone that
is named, with the distance of training from test pictures as its floor. Anybody can do both again, without a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F32, I64, U8, Values
from beholder.base.brief import within
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe, load
from beholder.base.records import PARTS, Parts, Pictures, Score
from beholder.bundle.generator import Generator
from beholder.data.cache import Pixels, cached
from beholder.data.survey import survey
from beholder.evaluation.evaluate import evaluate
from beholder.learn.generate import FEWEST
from beholder.learn.train import train
from beholder.machine.pace import slowness
from beholder.machine.stop import stopping
from beholder.measure.generative import covered, kid, spread
from beholder.measure.intervals import multiplier, proportion
from beholder.measure.neighbours import nearest, unit
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.evidence import Backbone, at_hand, features_of

MOST = 1000
"""Made pictures, and real ones of each part, whose features are compared at most."""

SHOWN = 24
"""Made pictures that stand beside the nearest training pictures."""

OPENING, SAMPLING = 3.0, 0.3
"""Seconds that are needed to compare features on an idle machine; share of the time that making the pictures may take."""

COLLAPSED, ALIKE, SAME = 0.1, 0.9, 0.5
"""Shares of the recall, and of the spread, of real pictures: a generator that is below both has collapsed, and one whose spread
is below the last. After little training recall is low, too, while made pictures are as varied as real ones (docs/LOG.md)."""


@dataclass(frozen=True, eq=False)
class Features:
    """What the features of a named net say of made pictures beside real ones that nothing was learnt from.

    net: its name; kid, floor: kernel distance of the real pictures from made ones, and from training pictures
    recall, ceiling: share of the real pictures within reach of made ones, and of training pictures
    precision: share of the made pictures within reach of real ones
    spread: how far made pictures lie from each other, 1 where as far as real ones do
    near: (of the first made pictures, the nearest training picture of each, cosine), and the median cosine of real ones
    """

    net: str
    kid: Score
    floor: Score
    recall: Score
    ceiling: Score
    precision: Score
    spread: float
    near: tuple[I64, F32, float]

    @property
    def collapsed(self) -> bool:
        """Return whether made pictures are more alike than real ones are, and cover next to nothing of them."""
        few = self.recall.high < COLLAPSED * self.ceiling.value
        return self.spread < (ALIKE if few else SAME)

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        scores = {name: getattr(self, name).json() for name in ("kid", "floor", "recall", "ceiling", "precision")}
        return {"net": self.net, **scores, "spread": round(self.spread, 4), "collapsed": self.collapsed}

    def sentences(self) -> list[str]:
        """Return it in sentences."""
        said = [
            f"kernel distance (KID) of real from made pictures in features of {self.net}: {_distance(self.kid)}; "
            f"of real from training pictures {_distance(self.floor)}",
            f"recall: made pictures reach {self.recall.short()} of the real ones, as many training pictures "
            f"{self.ceiling.value:.3f} (n={self.recall.n})",
            f"precision: {self.precision.short()} of the made pictures lie among real ones (n={self.precision.n}); they lie "
            f"{self.spread:.2f} times as far from each other as real ones do",
        ]
        if self.collapsed:
            said.append("collapse: the made pictures show a small part of what there is; train longer, or with another seed")
        return said


def _distance(score: Score) -> str:
    return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]" if score.low == score.low else f"{score.value:.4f}"


def comparable(train: Pictures, held: Pictures) -> Backbone | None:
    """Return the pretrained net by whose features made pictures are compared; None where there is none, or too few pictures."""
    return at_hand(Recipe().net, survey(train), small=True) if min(len(train), len(held)) >= FEWEST else None


def compared(made: Generator, train: Pictures, held: Pictures, *, seed: int, until: Deadline = NEVER) -> Features | None:
    """Return what features say of made pictures beside `held`, which nothing was learnt from: of as many as there is time for.

    None where they are not `comparable`, or there is no time.
    """
    backbone = comparable(train, held)
    if backbone is None or (not until.none and until.left < OPENING * slowness()):
        return None
    most, making = min(MOST, len(train), len(held)), until.within(SAMPLING * until.left)
    count = making.fitting(lambda n: made.sample(n, seed=seed + 1), few=FEWEST, most=most)
    if not count:
        return None
    rng = np.random.default_rng(seed)
    real, known = (digested(p.take(np.sort(rng.permutation(len(p))[:count]))) for p in (held, train))
    images, labels = typical(made, count, seed + 1)
    fakes = digested(pictures_of(made, images, labels))
    found = list[F32]()
    for some, what in ((real, "features"), (fakes, "features of made pictures"), (known, "features")):
        minutes = 0.0 if until.none else max(1e-3, until.left / 60 / (3 - len(found)))
        found.append(features_of(some, backbone, Recipe(), survey(real), minutes, like=None, what=what))
    kept = [np.flatnonzero(np.isfinite(rows).all(axis=1)) for rows in found]
    if min(map(len, kept)) < FEWEST:
        return None
    return _features(backbone.net.name, found, kept, _rows_in(train, known), rng)


def typical(made: Generator, n: int, seed: int) -> tuple[U8, I64]:
    """Return n made pictures, uint8 (N, C, H, W), and their classes, as frequent as in training; the first of more."""
    labels = made.dealt(n)
    return np.concatenate(list(made.chunks(labels, seed=seed))), labels


def _features(net: str, found: list[F32], kept: list[I64], of: I64, rng: np.random.Generator) -> Features:
    """Return what features say.

    found: of real, made and training pictures, float32 (N, F) each; kept: the rows that are known; of: rows in the whole
    training part
    """
    rows = [values[at] for values, at in zip(found, kept, strict=True)]
    ways = [unit(values) for values in rows]
    shown = kept[1][:SHOWN]
    cosine, place = nearest(ways[1][: len(shown)], ways[2], 1)
    usual = float(np.median(nearest(ways[0], ways[2], 1)[0]))
    near = np.stack([shown, of[kept[2]][place[:, 0]]])
    few = min(map(len, rows))
    mixed = [rng.permutation(len(each))[:few] for each in rows]  # sources lie class by class: a block would be of one class
    real, made, known = (values[at] for values, at in zip(rows, mixed, strict=True))
    return Features(
        net,
        kid(real, made),
        kid(real, known),
        proportion(covered(ways[0], ways[1][mixed[1]])),
        proportion(covered(ways[0], ways[2][mixed[2]])),
        proportion(covered(ways[1][mixed[1]], ways[0])),
        spread(ways[1]) / max(1e-6, spread(ways[0])),
        (near, cosine[:, 0], usual),
    )


def _rows_in(whole: Pictures, some: Pictures) -> I64:
    place = {key: row for row, key in enumerate(whole.keys)}
    return np.array([place[key] for key in some.keys], np.int64)


def pictures_of(made: Generator, images: U8, labels: I64) -> Pictures:
    """Return made pictures as a source in memory, with the classes of the generator."""
    rows = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    rows = rows[..., 0] if rows.shape[3] == 1 else rows
    found = scan(rows, labels=False)
    return replace(found, targets=labels, classes=made.classes) if made.classes else found


@dataclass(frozen=True, eq=False)
class Worth:
    """What the pictures of a generator are worth.

    accuracy, real: on real test pictures, of `sprint` that learnt from made pictures, and from as many real ones
    bits: of test pictures, a VAE's; spread: standard deviation over draws of the latents; features: see `Features`
    """

    learnt: int
    accuracy: Score | None = None
    real: Score | None = None
    bits: Score | None = None
    spread: float = 0.0
    tighter: float = float("nan")
    features: Features | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __repr__(self) -> str:
        return within("Worth", self.sentences()[:2])

    def sentences(self) -> list[str]:
        """Return it in sentences."""
        said = []
        if self.accuracy is not None and self.real is not None:
            said.append(
                f"classification accuracy score (CAS): sprint learns from {self.learnt:,} made pictures and reaches "
                f"{self.accuracy.short()} on real test pictures; from as many real ones {self.real.short()} (n={self.real.n})"
            )
        if self.bits is not None:
            said.append(
                f"test pictures take {self.bits.short()} bits per dimension (n={self.bits.n}; ±{self.spread:.4f} over draws), "
                f"{self.tighter:.3f} by the importance-weighted bound"
            )
        return [*said, *(self.features.sentences() if self.features else ()), *self.notes]

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        scores: dict[str, Score | None] = {"accuracy": self.accuracy, "real": self.real, "bits_per_dimension": self.bits}
        found: dict[str, Any] = {name: score.json() for name, score in scores.items() if score is not None}
        if self.bits is not None:
            found |= {"spread_over_draws": self.spread, "importance_weighted": self.tighter}
        if self.features is not None:
            found["features"] = self.features.json()
        return {"learnt": self.learnt, **found, "notes": list(self.notes)}


def worth(made: Generator | str | Path, source: str | Path | Any, *, seed: int = 0, allow_download: bool = False) -> Worth:
    """Return what the pictures of a generator are worth, by pictures of `source` that it did not learn from.

    source: the one that it was trained on; its training and its test pictures are told by what the bundle keeps of them
    Raises `UsageError` for what is no generator, `DataError` (not-trained-on) where the source is another.
    """
    made = made if isinstance(made, Generator) else Generator.load(made)
    pictures = digested(scan(source, labels=None, allow_download=allow_download))
    parts = _parts(made, pictures)
    with stopping():
        events.note(f"what made pictures are worth: {len(parts.test):,} test pictures")
        cas = _by_recognition(made, parts, seed) if made.classes and not made.config.several else {}
        notes = () if cas else ("No accuracy score: that takes pictures of one class each.",)
        found: dict[str, Any] = {**cas, "features": compared(made, parts.train, parts.test, seed=seed), "notes": notes}
        if made.config.shape.kind == "vae":
            found |= bounds(made, parts.test, seed)
        return Worth(len(parts.train), **found)


def _parts(made: Generator, pictures: Pictures) -> Parts:
    of = dict(made.splits)
    part = np.array([PARTS.index(of[row]) if row in of else -1 for row in pictures.hexdigests], np.int8)
    found = [pictures.take(np.flatnonzero(part == k)) for k in range(3)]
    if min(len(found[0]), len(found[2])) < FEWEST:
        text = (
            f"of the pictures of {pictures.store.name} {len(found[0])} were trained on and {len(found[2])} held back for a test"
        )
        hint = f"give the source that it was trained on; {FEWEST} of each part are the least"
        raise DataError(text, code="not-trained-on", hint=hint)
    if found[0].labelled and tuple(found[0].classes) != made.classes:
        raise DataError("the classes are not those of the generator", code="other-classes", hint="give the same source as then")
    return Parts(found[0], found[1], found[2])


def _decoded(made: Generator, pictures: Pictures) -> tuple[Pixels, I64]:
    pixels = cached(pictures, made.config.pixels, on_bad="skip")
    rows = pixels.of(pictures)
    return pixels, np.asarray(rows.targets, np.int64)


def bounds(made: Generator, pictures: Pictures, seed: int) -> dict[str, Any]:
    """Return minus the bound of pictures in bits per dimension, its spread over 8 draws, and the importance-weighted one of 64.

    The first takes up to 2,000 pictures, the last 100.
    """
    pixels, labels = _decoded(made, pictures)
    some = np.random.default_rng(seed).permutation(len(pixels))[:2000]
    images = pixels.take(some)
    score, spread = bits_of(made, images, labels[some], draws=8, seed=seed)
    many = made.bounds(images[:100], labels[some][:100], draws=64, seed=seed + 1).astype(np.float64)
    tight = -(np.logaddexp.reduce(-many, axis=0) - np.log(len(many))) / (images[0].size * np.log(2))
    return {"bits": score, "spread": spread, "tighter": float(tight.mean())}


def bits_of(made: Generator, images: U8, labels: Values, *, draws: int, seed: int = 0) -> tuple[Score, float]:
    """Return minus the bound of two pictures or more, uint8 (N, C, H, W), in bits per dimension, and its spread over draws."""
    found = made.bounds(images, labels, draws=draws, seed=seed) / (images[0].size * np.log(2))
    each = found.mean(axis=0)
    value, half = float(each.mean()), multiplier(0.95) * float(each.std(ddof=1)) / len(each) ** 0.5
    return Score(value, value - half, value + half, len(each)), float(found.mean(axis=1).std(ddof=1))


def _by_recognition(made: Generator, parts: Parts, seed: int) -> dict[str, Score]:
    """Return the accuracy on the test part of `sprint` from made pictures, and from real ones."""
    pixels = {name: _decoded(made, part) for name, part in parts.items()}
    counts = {name: len(pixels[name][0]) for name in ("train", "valid")}
    found: dict[str, Score] = {}
    for what in ("accuracy", "real"):
        each = []
        for k, name in enumerate(PARTS):
            if what == "accuracy" and name != "test":
                images, labels = typical(made, max(counts[name], len(made.classes)), seed + 1 + k)
            else:
                some, labels = pixels[name]
                images = some.take(np.arange(len(some)))
            each.append(pictures_of(made, images, labels))
        bundle = train(Parts(*each), recipe=load("sprint").set(seed=seed))
        found[what] = evaluate(bundle, each[2]).scores.headline["accuracy"]
    return found
