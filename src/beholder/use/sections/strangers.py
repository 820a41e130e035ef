"""The section `strangers`: whether the recogniser knows when a picture is of none of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.bundle import stranger
from beholder.bundle.bundle import Bundle
from beholder.data.cache import cached
from beholder.data.image import load
from beholder.data.sources import scan
from beholder.data.sources.folder import listing
from beholder.data.sources.listing import is_picture
from beholder.machine.device import device
from beholder.measure.means import mean_score
from beholder.measure.strangers import auroc, fpr95
from beholder.use.evaluate import Evaluation

BUILT_IN = 100
"""Pictures of each built-in set, or as many as were tested."""

MOST = 1000
"""Pictures that are taken of each set that a person names."""

PATCHES = 4
"""Shuffled patches lie in so many rows and columns."""

Images = npt.NDArray[np.uint8]


def strangers(bundle: Bundle, evaluation: Evaluation, *, sources: Sequence[str | Path] = ()) -> dict[str, Any] | None:
    """Return how well strangers are told from the pictures that were tested; None where pixels were not kept.

    {"score": by which `predict` judges, or None; "accept": share of the own kind that should pass; "fitted_on": validation
    pictures behind the threshold; "accepted": score, the share of the tested pictures that pass; "sets": name →
    {"n", "auroc": score name → score, "fpr95": score name → score, "caught": score, the share called strangers}}
    The sets: noise, patches (tested pictures in shuffled pieces), digits (of scikit-learn; not where the classes are digits),
    and `sources`, each a folder of pictures or what `scan` takes. Without references there is no `knn`, `accepted`, `caught`.
    """
    if evaluation.pixels is None or len(evaluation.pixels) < 2:
        return None
    kept = bundle.config.get("strangers", {})
    groups = None if evaluation.pictures is None else evaluation.pictures.groups
    own = stranger.scores(bundle, evaluation.logits, evaluation.features)
    found: dict[str, Any] = {
        "score": kept.get("score"),
        "accept": kept.get("accept", stranger.ACCEPT),
        "fitted_on": kept.get("n", 0),
    }
    judged = stranger.judged(bundle, evaluation.logits, evaluation.features)
    if judged is not None:
        found["accepted"] = mean_score(~judged[0], clusters=groups).json()
    home = next(bundle.net.parameters()).device
    moved = bundle.to(device())
    sets: dict[str, Any] = {}
    total = (2 if _digits_are_known(bundle) else 3) + len(sources)
    for done, (name, images) in enumerate(_sets(bundle, evaluation, sources), 1):
        sets[name] = _against(moved, own, images)
        events.progress("strangers", done, total)
    bundle.to(home)
    return {**found, "sets": sets}


def built_in(bundle: Bundle, images: Images, *, seed: int = 0) -> Iterator[tuple[str, Images]]:
    """Yield (name, uint8 (min(N, 100), C, H, W)) of the built-in sets beside a recogniser's own `images` (N, C, H, W)."""
    rng, count = np.random.default_rng(seed), min(len(images), BUILT_IN)
    yield "noise", rng.integers(0, 256, (count, *images.shape[1:]), np.uint8)
    yield "patches", shuffled(images[:count], rng)
    if not _digits_are_known(bundle):
        from sklearn.datasets import load_digits

        pictures = (load_digits().images[:: 1797 // count][:count] * 255 / 16).astype(np.uint8)
        yield "digits", np.stack([load(picture, bundle.policy) for picture in pictures])


def shuffled(images: Images, rng: np.random.Generator) -> Images:
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


def named(bundle: Bundle, source: str | Path, *, seed: int = 0) -> Images:
    """Return at most `MOST` pictures of a folder, or of what `scan` takes, as the net is given them: uint8 (M, C, H, W).

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
        pictures = scan(source)
        some = pictures.take(np.sort(rng.permutation(len(pictures))[:MOST]))
        pixels = cached(some, bundle.policy, on_bad="skip")
        if len(pixels):
            return pixels.take(np.arange(len(pixels)))
    raise DataError(f"no picture of {source} can be read", code="no-pictures", hint="name a folder or an archive of pictures")


def _sets(bundle: Bundle, evaluation: Evaluation, sources: Sequence[str | Path]) -> Iterator[tuple[str, Images]]:
    assert evaluation.pixels is not None
    rows = np.sort(np.random.default_rng(0).permutation(len(evaluation.pixels))[:BUILT_IN])
    yield from built_in(bundle, evaluation.pixels.take(rows))
    for source in sources:
        yield Path(source).name or str(source), named(bundle, source)


def _against(bundle: Bundle, own: dict[str, npt.NDArray[np.float64]], images: Images) -> dict[str, Any]:
    logits, features = bundle.outputs(images)
    other = stranger.scores(bundle, logits, features)
    judged = stranger.judged(bundle, logits, features)
    return {
        "n": len(images),
        "auroc": {name: auroc(own[name], other[name]).json() for name in own},
        "fpr95": {name: fpr95(own[name], other[name]).json() for name in own},
        **({} if judged is None else {"caught": mean_score(judged[0]).json()}),
    }


def _digits_are_known(bundle: Bundle) -> bool:
    return {name.strip().lower() for name in bundle.classes} >= set("01234")
