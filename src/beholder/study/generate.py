"""The verb `generate`: from a source to a tested net that makes pictures, with a page that shows them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import I64, U8, Values
from beholder.base.brief import within
from beholder.base.deadline import Deadline
from beholder.base.files import followed
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.base.used import changed
from beholder.bundle.generator import Generator
from beholder.data.cache import cached
from beholder.data.groups import named_groups
from beholder.data.split import split
from beholder.learn.generate import check_free_of_models
from beholder.learn.generate import generate as learnt
from beholder.machine.stop import stopping
from beholder.reporting.generated import Shown, generated
from beholder.study.dryrun import DryRun
from beholder.study.foresee import dry
from beholder.study.introduce import introduced
from beholder.study.worth import Features, bits_of, compared

CLOSING, MOST = 0.12, 45.0
"""Share of the minutes, and seconds at most, for the figures and the page after training; saving takes two seconds more."""


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
    if out is not None:
        check_free_of_models(out := followed(Path(out)))
    if dry_run:
        return dry("generate", source, asked, out, allow_download=allow_download)
    minutes = asked.train.minutes
    after = min(MOST, CLOSING * 60 * minutes) + 2.0 if minutes else 0.0
    with stopping():
        pictures = named_groups(introduced(source, labels=None, allow_download=allow_download), asked.data.group_from)
        parts = _split(pictures, asked)
        made = learnt(parts, recipe=asked, out=out, resume=resume, began=began, after=after)
        until = Deadline.of(began, minutes)
        found = compared(
            made, parts.train, parts.valid, seed=asked.seed, minutes=0.0 if until.none else max(0.01, until.left / 60)
        )
        made.scores = scored(made, parts, found)
        if out is not None:
            made.save(out)
            generated(shown(made, parts, found), made, out / "report.html")
    return Outcome(made, out, time.monotonic() - began, found)


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


def scored(made: Generator, parts: Parts, found: Features | None) -> dict[str, Any]:
    """Return what scores.json says: a VAE's bits per dimension on validation pictures, and what features say."""
    said: list[str] = []
    scores: dict[str, Any] = {}
    images, labels = _validation(made, parts, 500)
    if made.config.shape.kind == "vae" and len(images) > 1:
        score, spread = bits_of(made, images, labels, draws=4)
        scores = {"bits_per_dimension": score.json(), "spread_over_draws": spread}
        of = f"(n={score.n}; ±{spread:.4f} over draws of the latents)"
        said.append(f"{score.short()} bits per dimension on validation pictures {of}")
    if found is not None:
        scores["features"] = found.json()
        said += found.sentences()
    return {**scores, "said": said}


def _validation(made: Generator, parts: Parts, most: int) -> tuple[U8, Values]:
    """Return the first validation pictures as the net sees them, uint8 (N, C, H, W), and their targets."""
    pixels = cached(parts.valid, made.config.pixels, on_bad="skip")
    some = np.arange(min(most, len(pixels)))
    return pixels.take(some), np.asarray(pixels.of(parts.valid).targets)[some]


def shown(made: Generator, parts: Parts, found: Features | None) -> Shown:
    """Return what the page shows: made pictures, the nearest training pictures, reconstructions, the way between two, a map."""
    few = made.classes[:10]
    samples = [(name, made.sample(12, label=name, seed=7)[0]) for name in few] or [("", made.sample(48, seed=7)[0])]
    usual, near = (None, []) if found is None else (found.near[2], _near(made, parts, found))
    images, labels = _validation(made, parts, 400)
    if made.config.shape.kind != "vae" or len(images) < 2:
        return Shown(samples, near, usual, [], [], None)
    rebuilt = list(zip(images[:12], made.rebuilt(images[:12], labels[:12]), strict=True))
    between = list(made.between(images[:2], labels[:2]))
    return Shown(samples, near, usual, rebuilt, between, (made.latents(images, labels), _first_of(labels)))


def _near(made: Generator, parts: Parts, found: Features) -> list[tuple[U8, U8, float]]:
    """Return (made picture, training picture nearest to it, cosine) of the first made pictures."""
    (fakes, real), cosines, _ = found.near
    images, _ = made.sample(int(fakes.max()) + 1, seed=made.recipe.seed + 1)
    pixels = cached(parts.train.take(real), made.config.pixels, on_bad="skip")
    place = {int(row): k for k, row in enumerate(pixels.rows)}
    rows = [k for k in range(len(fakes)) if k in place]
    return [(images[fakes[k]], pixels.take(np.array([place[k]]))[0], float(cosines[k])) for k in rows]
