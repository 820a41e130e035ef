"""The verb `generate`: from a source to a tested net that makes pictures, with a page that shows them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import F32, I64, U8, Values
from beholder.base.brief import within
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.files import followed
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, Score
from beholder.base.used import changed
from beholder.bundle.generator import Generator
from beholder.data.cache import cached
from beholder.data.groups import named_groups
from beholder.data.split import split
from beholder.learn.bounds import some_of
from beholder.learn.followed import one_process
from beholder.learn.generate import FEWEST, check_free_of_models
from beholder.learn.generate import generate as learnt
from beholder.machine.pace import slowness
from beholder.machine.stop import stopping
from beholder.reporting.generated import Shown, generated
from beholder.study.dryrun import DryRun
from beholder.study.foresee import dry
from beholder.study.introduce import introduced
from beholder.study.worth import Features, bits_of, comparable, compared, typical

CLOSING, MOST = 0.12, 45.0
"""Share of the minutes, and seconds at most, for the figures and the page after training."""

SAVING = 2.0
"""Seconds that saving and writing the page take on an idle machine."""

SCORED, DRAWS = 500, 4
"""Validation pictures of which bits per dimension are told, at most, and how often the latents are drawn."""

BITS, COMPARED = 0.35, 0.75
"""Share of the time after training for bits per dimension, and of what is left of it for features; the page has the rest."""

ROW, FEW_IN_ROW, MAPPED = 12, 3, 400
"""Samples of a class on the page, and where time is short; validation pictures on the map of the latent space, at most."""

TRIED = 8
"""Pictures that tell how long more of them take."""

REBUILT = ("reconstructions", "map of the latent space")
"""What the page shows of a VAE where there is time."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What `generate` made: the generator, saved at `path` unless None, and what is known of its pictures."""

    generator: Generator
    path: Path | None
    seconds: float
    features: Features | None

    def __repr__(self) -> str:
        return within("Outcome", [repr(self.generator), f"{self.seconds:.0f} s"])

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "kind", "classes", "seconds", "parts", "plan", "scores", "notes"}."""
        config = self.generator.config
        return {
            **{"bundle": None if self.path is None else str(self.path), "kind": config.shape.kind},
            **{"classes": list(config.classes), "seconds": round(self.seconds, 2), "parts": dict(config.parts)},
            **{"plan": dict(config.plan), "scores": self.generator.scores, "notes": list(config.notes)},
        }

    def __str__(self) -> str:
        said = list(self.generator.scores.get("said", ()))
        where = [f"bundle {self.path}", f"report {self.path / 'report.html'}"] if self.path else []
        ahead = ["", f"next: beholder sample {self.path} --n 64 --out grid.png"] if self.path else []
        return "\n".join([*said, f"{self.seconds:.0f} s in all", *where, *ahead])


def generate(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    allow_download: bool = False,
    dry_run: bool = False,
    **fields: Any,
) -> Outcome | DryRun:
    """Learn to make pictures like those of `source`.

    source: what `scan` takes, with labels or without, or Pictures; it is split as for `train`, and the test part is not read
    recipe, fields: kind="vae" | "gan", minutes=15, size=32, seed=1, …: see the section `generate` in docs/RECIPES.md
    out: where to save the bundle and its page; resume: go on with the run that `out` left unfinished; dry_run: as of `steps`
    Raises what `scan` and `split` raise, `UsageError` for fields that are not used, `DataError` (too-few-pictures).
    """
    began = time.monotonic() if began is None else began
    asked = changed(recipe, fields, verb="generate")
    one_process(what="a generative model")
    if out is not None:
        check_free_of_models(out := followed(Path(out)))
    if dry_run:
        return dry("generate", source, asked, out, allow_download=allow_download)
    minutes, saving = asked.train.minutes, SAVING * slowness()
    after = min(MOST, CLOSING * 60 * minutes) + saving if minutes else 0.0
    with stopping():
        pictures = named_groups(introduced(source, labels=None, allow_download=allow_download), asked.data.group_from)
        parts = _split(pictures, asked)
        made = learnt(parts, recipe=asked, out=out, resume=resume, began=began, after=after)
        found = _finished(made, parts, out, Deadline.of(began, minutes).before(saving))
    return Outcome(made, out, time.monotonic() - began, found.features)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of made pictures.

    bits: a VAE's bits per dimension on validation pictures, and their spread over draws; left_out: for what there was no time
    """

    bits: tuple[Score, float] | None
    features: Features | None
    left_out: tuple[str, ...]


def _finished(made: Generator, parts: Parts, out: Path | None, until: Deadline) -> Known:
    """Measure what there is time for until then, save it with the page, and return it."""
    found, page = measured(made, parts, until), None
    if out is not None:
        page, missing = shown(made, parts, found, until)
        found = replace(found, left_out=(*found.left_out, *missing))
    made.scores = scored(found)
    if out is not None and page is not None:
        made.save(out)
        generated(page, made, out / "report.html")
    return found


def measured(made: Generator, parts: Parts, until: Deadline) -> Known:
    """Return what is known of made pictures beside validation pictures: of as many as there is time for."""
    bits, left_out = None, list[str]()
    if made.config.shape.kind == "vae":
        images, labels = _validation(made, parts, SCORED, until)
        bits = _bits(made, images, labels, until.within(BITS * until.left)) if len(images) > 1 else None
        left_out += ["bits per dimension"] if bits is None and (len(images) > 1 or until.passed) else []
    features = compared(made, parts.train, parts.valid, seed=made.recipe.seed, until=until.within(COMPARED * until.left))
    if features is None and not until.none and comparable(parts.train, parts.valid) is not None:
        left_out.append("kernel distance and recall")
    return Known(bits, features, tuple(left_out))


def _bits(made: Generator, images: U8, labels: Values, until: Deadline) -> tuple[Score, float] | None:
    """Return a VAE's bits per dimension, and their spread over draws; None where there is no time for `FEWEST` pictures."""
    least = min(FEWEST, len(images))
    few, most = min(TRIED, len(images)), DRAWS * len(images)
    count = until.fitting(lambda n: made.bounds(images[:n], labels[:n]), few=few, most=most)
    some = some_of(labels, count // DRAWS)
    return bits_of(made, images[some], labels[some], draws=DRAWS) if len(some) >= least else None


def _first_of(labels: Values) -> I64:
    """Return the class of each picture, or the first of several; 0 where there is none."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    return labels.argmax(1) if labels.shape[1] else np.zeros(len(labels), np.int64)


def _split(pictures: Pictures, recipe: Recipe) -> Parts:
    """Return the parts of pictures, those without labels as if they were of one class."""
    val, test = recipe.data.val, recipe.data.test
    if pictures.labelled:
        return split(pictures, seed=recipe.seed, val=val, test=test)
    as_one = replace(pictures, classes=("pictures",), targets=np.zeros(len(pictures), np.int64))
    parts = split(as_one, seed=recipe.seed, val=val, test=test)
    return Parts(*(replace(part, classes=(), targets=np.zeros((len(part), 0), np.uint8)) for _, part in parts.items()))


def scored(found: Known) -> dict[str, Any]:
    """Return what scores.json says: a VAE's bits per dimension on validation pictures, what features say, what was left out."""
    said: list[str] = []
    scores: dict[str, Any] = {}
    if found.bits is not None:
        score, spread = found.bits
        scores = {"bits_per_dimension": score.json(), "spread_over_draws": spread}
        of = f"(n={score.n}; ±{spread:.4f} over draws of the latents)"
        said.append(f"{score.short()} bits per dimension on validation pictures {of}")
    if found.features is not None:
        scores["features"] = found.features.json()
        said += found.features.sentences()
    if found.left_out:
        said.append(f"left out for lack of time: {', '.join(found.left_out)}; give more --minutes")
    return {**scores, "left_out": list(found.left_out), "said": said}


def _validation(made: Generator, parts: Parts, most: int, until: Deadline) -> tuple[U8, Values]:
    """Return validation pictures of all classes as the net sees them, uint8 (N, C, H, W), and their targets."""
    some = parts.valid.take(some_of(parts.valid.targets, most))
    try:
        pixels = cached(some, made.config.pixels, on_bad="skip", enough=lambda: until.passed)
    except DataError:  # none can be read, or there is no time to
        return np.zeros((0, 0, 0, 0), np.uint8), some.targets[:0]
    return pixels.take(np.arange(len(pixels))), np.asarray(pixels.of(some).targets)


def shown(made: Generator, parts: Parts, found: Known, until: Deadline) -> tuple[Shown, tuple[str, ...]]:
    """Return what the page shows, and what there was no time for.

    Made pictures, the training pictures nearest to them and, of a VAE, reconstructions, the way between two, a map.
    """
    few, features = made.classes[:10], found.features
    rows = max(4, len(few))
    count = until.fitting(lambda n: made.sample(n, seed=7), few=FEW_IN_ROW, most=ROW * rows) // rows
    each = max(FEW_IN_ROW, count)
    samples = [(name, made.sample(each, label=name, seed=7)[0]) for name in few] or [("", made.sample(rows * each, seed=7)[0])]
    usual, near = (None, []) if features is None else (features.near[2], _near(made, parts, features))
    if made.config.shape.kind != "vae":
        return Shown(samples, near, usual, [], [], None), ()
    rebuilt, between, mapped, missing = _latent(made, parts, until)
    return Shown(samples, near, usual, rebuilt, between, mapped), missing


def _latent(
    made: Generator, parts: Parts, until: Deadline
) -> tuple[list[tuple[U8, U8]], list[U8], tuple[F32, Values] | None, tuple[str, ...]]:
    """Return reconstructions, what lies between two pictures, a map of the latents, and what there was no time for."""
    images, labels = _validation(made, parts, MAPPED, until)
    if len(images) < 2:
        return [], [], None, REBUILT if until.passed else ()
    few, others = min(TRIED, len(images)), 3 * ROW
    count = until.fitting(lambda n: made.latents(images[:n], labels[:n]), few=few, most=len(images) + others)
    if count < others:
        return [], [], None, REBUILT
    first = stratified(labels)[:ROW]
    rebuilt = list(zip(images[first], made.rebuilt(images[first], labels[first]), strict=True))
    between = list(made.between(images[first[:2]], labels[first[:2]]))
    some = some_of(labels, count - others)
    if len(some) < min(FEWEST, len(images)):
        return rebuilt, between, None, REBUILT[1:]
    return rebuilt, between, (made.latents(images[some], labels[some]), _first_of(labels[some])), ()


def _near(made: Generator, parts: Parts, found: Features) -> list[tuple[U8, U8, float]]:
    """Return (made picture, training picture nearest to it, cosine) of the first made pictures."""
    (fakes, real), cosines, _ = found.near
    images, _ = typical(made, int(fakes.max()) + 1, made.recipe.seed + 1)
    pixels = cached(parts.train.take(real), made.config.pixels, on_bad="skip")
    place = {int(row): k for k, row in enumerate(pixels.rows)}
    rows = [k for k in range(len(fakes)) if k in place]
    return [(images[fakes[k]], pixels.take(np.array([place[k]]))[0], float(cosines[k])) for k in rows]
