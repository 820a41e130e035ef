"""The section `ood`: whether the model detects pictures of none of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, U8
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import DataError, PictureError
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle
from beholder.data.cache import cached
from beholder.evaluation.evaluate import Evaluation
from beholder.image import load
from beholder.machine.device import device
from beholder.machine.placement import evaluating
from beholder.measure.means import mean_score
from beholder.measure.ood import fpr95, separation
from beholder.runtime.features import Run
from beholder.runtime.inference import Held, engine, outputs
from beholder.sources import scan
from beholder.sources.folder import listing
from beholder.sources.listing import is_picture

BUILT_IN = 100
"""Pictures of each built-in set, or as many as were tested."""

MOST = 1000
"""Pictures that are taken of each set that a person names."""

PATCHES = 4
"""Shuffled patches lie in so many rows and columns."""


def out_of_distribution(
    bundle: Bundle,
    evaluation: Evaluation,
    *,
    sources: Sequence[str | Path] = (),
    until: Deadline = NEVER,
    allow_download: bool = False,
) -> dict[str, Any] | None:
    """Return how well out-of-distribution pictures are told from those tested; None where pixels were not kept.

    {"score": by which `predict` judges, or None; "accept": share of in-distribution pictures to accept; "fitted_on": validation
    pictures behind the threshold; "accepted": score, the share of the tested pictures that is accepted; "sets": name →
    {"n", "auroc": score name → score, "fpr95": score name → score, "caught": score, the share detected}}
    The sets: noise, patches (tested pictures in shuffled pieces), digits (of scikit-learn; not where the classes are digits),
    and `sources`, each a folder of pictures or what `scan` takes. Without references there is no `knn`, `accepted`, `caught`.
    allow_download: as of `scan`
    """
    if evaluation.pixels is None or len(evaluation.pixels) < 2:
        return None
    kept = bundle.config.ood
    groups = None if evaluation.pictures is None else evaluation.pictures.groups
    own = ood.scores(bundle, evaluation.logits, evaluation.features)
    found: dict[str, Any] = {
        "score": kept.score if kept else None,
        "accept": kept.accept if kept else ood.ACCEPT,
        "fitted_on": kept.n if kept else 0,
    }
    judged = ood.judged(bundle, evaluation.logits, evaluation.features)
    if judged is not None:
        found["accepted"] = mean_score(~judged[0], clusters=groups).json()
    sets: dict[str, Any] = {}
    total = (2 if _digits_are_known(bundle) else 3) + len(sources)
    with evaluating(bundle.net, on=device()):
        run = engine(bundle, evaluation.pixels, pictures=3 * BUILT_IN, seconds=until.left)
        for done, (name, images) in enumerate(_sets(bundle, evaluation, sources, allow_download), 1):
            sets[name] = _against(bundle, own, images, run, until)
            events.progress("out-of-distribution", done, total)
    return {**found, "sets": sets}


def built_in(bundle: Bundle, images: U8, *, seed: int = 0) -> Iterator[tuple[str, U8]]:
    """Yield (name, uint8 (min(N, 100), C, H, W)) of the built-in sets beside a model's own `images` (N, C, H, W)."""
    rng, count = np.random.default_rng(seed), min(len(images), BUILT_IN)
    yield "noise", rng.integers(0, 256, (count, *images.shape[1:]), np.uint8)
    yield "patches", shuffled(images[:count], rng)
    if not _digits_are_known(bundle):
        from sklearn.datasets import load_digits

        pictures = (load_digits().images[:: 1797 // count][:count] * 255 / 16).astype(np.uint8)
        yield "digits", np.stack([load(picture, bundle.policy) for picture in pictures])


def shuffled(images: U8, rng: np.random.Generator) -> U8:
    """Return uint8 (N, C, H, W) with the pieces of each picture in another order; what is left over stays."""
    made = images.copy()
    tall, wide = (n // PATCHES for n in images.shape[2:])
    if not tall or not wide:
        return made[..., rng.permutation(images.shape[3])]
    corners = [(i * tall, j * wide) for i in range(PATCHES) for j in range(PATCHES)]
    for row, picture in enumerate(images):
        for (top, left), k in zip(corners, rng.permutation(len(corners)), strict=True):
            y, x = corners[k]
            made[row, :, top : top + tall, left : left + wide] = picture[:, y : y + tall, x : x + wide]
    return made


def named(bundle: Bundle, source: str | Path, *, seed: int = 0, allow_download: bool = False) -> U8:
    """Return at most `MOST` pictures of a folder, or of what `scan` takes, as the net is given them: uint8 (M, C, H, W).

    allow_download: as of `scan`

    Raises `DataError` where not one can be read.
    """
    root, rng = Path(source), np.random.default_rng(seed)
    if root.is_dir():
        names = sorted(name for name in listing(root).names if is_picture(name))
        images = []
        for k in np.sort(rng.permutation(len(names))[:MOST]).tolist():
            try:
                images.append(bundle.pixels(root / names[k]))
            except PictureError as error:
                events.warn(f"{names[k]}: {error.message}")
        if images:
            return np.stack(images)
    else:
        pictures = scan(source, labels=None, allow_download=allow_download)
        some = pictures.take(np.sort(rng.permutation(len(pictures))[:MOST]))
        pixels = cached(some, bundle.policy, on_bad="skip")
        if len(pixels):
            return pixels.take(np.arange(len(pixels)))
    raise DataError(f"no picture of {source} can be read", code="no-pictures", hint="name a folder or an archive of pictures")


def _sets(
    bundle: Bundle, evaluation: Evaluation, sources: Sequence[str | Path], allow_download: bool
) -> Iterator[tuple[str, U8]]:
    assert evaluation.pixels is not None
    rows = np.sort(np.random.default_rng(0).permutation(len(evaluation.pixels))[:BUILT_IN])
    yield from built_in(bundle, evaluation.pixels.take(rows))
    for source in sources:
        yield Path(source).name or str(source), named(bundle, source, allow_download=allow_download)


def _against(bundle: Bundle, own: dict[str, F64], images: U8, run: Run, until: Deadline) -> dict[str, Any]:
    logits, features = outputs(bundle, Held(images), run=run, enough=lambda: until.passed, label="")
    other = ood.scores(bundle, logits, features)
    judged = ood.judged(bundle, logits, features)
    return {
        "n": len(logits),
        "auroc": {name: separation(own[name], other[name]).json() for name in own},
        "fpr95": {name: fpr95(own[name], other[name]).json() for name in own},
        **({} if judged is None else {"caught": mean_score(judged[0]).json()}),
    }


def _digits_are_known(bundle: Bundle) -> bool:
    return {name.strip().lower() for name in bundle.classes} >= set("01234")
