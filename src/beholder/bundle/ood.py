"""Out-of-distribution detection of a bundle: reference features, a threshold, and quantiles of the score on validation."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from beholder.base.arrays import F16, F32, F64, Bools
from beholder.base.errors import BundleError
from beholder.base.files import file_sha256, sha256
from beholder.bundle.config import Config, Ood
from beholder.measure import ood
from beholder.measure.neighbours import unit
from beholder.tasks.task import Task

FILE = "references.npy"

DEFAULT = "knn"
"""The score by which `predict` calls a picture out-of-distribution: the best on validation pictures of TrashNet beside the
built-in out-of-distribution sets (docs/HONESTY.md)."""

ACCEPT = 0.95
ROWS = 2000
BYTES = 4 << 20
"""At most so many references, and so many bytes of them."""

FEWEST = 20
"""Below this many validation pictures a threshold for one in twenty means nothing."""

LEVELS = 101


class Model(Protocol):
    """What is kept here of a model, or read from it."""

    config: Config
    references: F16 | None

    @property
    def task(self) -> Task:
        """Return what was learnt."""


def keep(bundle: Model, logits: F32, features: F32, *, seed: int = 0) -> None:
    """Fit on validation pictures what tells out-of-distribution pictures, into `bundle.config.ood` and `bundle.references`.

    logits: float32 (N, K), not calibrated; features: float32 (N, F). At most `ROWS` rows and `BYTES` bytes of the features are
    kept, as float16. Every picture is scored without itself among the references. With fewer than `FEWEST` nothing is kept.
    """
    bundle.config, bundle.references = replace(bundle.config, ood=None), None
    if len(logits) < FEWEST or not np.isfinite(features).all() or not np.isfinite(logits).all():
        return
    order = np.random.default_rng(seed).permutation(len(features))
    order = order[: max(1, min(ROWS, BYTES // (2 * features.shape[1])))]
    references = unit(features[order]).astype(np.float16)
    found = {
        "energy": ood.energy(logits, family=bundle.task.family),
        "softmax": ood.softmax(logits, family=bundle.task.family),
        "knn": ood.knn(features, references),
    }
    found["knn"][order] = ood.knn(references, references, itself=True)
    levels = np.linspace(0, 1, LEVELS)
    bundle.references = references
    kept = Ood(
        score=DEFAULT,
        accept=ACCEPT,
        n=len(logits),
        rows=len(references),
        sha256=sha256(encoded(references)),
        thresholds={name: ood.threshold(scores, accept=ACCEPT) for name, scores in found.items()},
        levels=tuple(np.quantile(found[DEFAULT], levels).tolist()),
    )
    bundle.config = replace(bundle.config, ood=kept)


def scores(bundle: Model, logits: F32, features: F32) -> dict[str, F64]:
    """Return score → float64 (N,), larger for less familiar pictures; `knn` only where the bundle has references."""
    found = {
        "energy": ood.energy(logits, family=bundle.task.family),
        "softmax": ood.softmax(logits, family=bundle.task.family),
    }
    return found if bundle.references is None else {**found, "knn": ood.knn(features, bundle.references)}


def judged(bundle: Model, logits: F32, features: F32) -> tuple[Bools, F64] | None:
    """Return whether each picture is out-of-distribution, bool (N,), and its score, float64 (N,) in 0..1; None if not fitted.

    The score is the share of validation pictures with a lower one, so what is out-of-distribution has more than `accept`.
    """
    kept = bundle.config.ood
    if kept is None or bundle.references is None:
        return None
    if features.shape[1] != bundle.references.shape[1]:
        text = f"the net gives {features.shape[1]} features a picture, the references have {bundle.references.shape[1]}"
        hint = "the weights are not of this bundle: train it again"
        raise BundleError(text, code="inconsistent", hint=hint)
    found = scores(bundle, logits, features)[kept.score]
    levels = np.asarray(kept.levels)
    strange = found > kept.thresholds[kept.score]
    share = np.searchsorted(levels, found, side="left") / len(levels)
    return strange, np.where(strange, np.maximum(share, kept.accept), np.minimum(share, kept.accept))


def read(path: Path, config: Config) -> F16 | None:
    """Return the references of the bundle in the folder `path`; None where its config names none.

    Raises `BundleError` if the file is not the one that the config names, or holds something else.
    """
    if config.ood is None:
        return None
    file = path / FILE
    if not file.is_file() or file_sha256(file) != config.ood.sha256:
        hint = "copy it again from where it was made, or train again"
        raise BundleError(f"{path} is damaged: {FILE} is missing or was changed", code="damaged", hint=hint)
    try:
        found = decoded(file.read_bytes())
        fits = len(found) == config.ood.rows and bool(np.isfinite(found).all())
    except ValueError:
        fits = False
    if not fits:
        what = f"{FILE} does not hold as many rows of numbers as {path} says"
        raise BundleError(f"{path} cannot be used: {what}", code="inconsistent", hint="train it again")
    return found


def encoded(references: F16) -> bytes:
    """Return the references as the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, references, allow_pickle=False)
    return buffer.getvalue()


def decoded(data: bytes) -> F16:
    """Return references from the bytes of an .npy file; raise `ValueError` for anything but a float16 table."""
    table = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if table.dtype != np.float16 or table.ndim != 2:
        raise ValueError(f"{FILE} holds {table.dtype} of {table.ndim} dimensions")
    found: F16 = table
    return found
