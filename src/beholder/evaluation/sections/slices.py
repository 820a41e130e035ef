"""The section `slices`: on which kind of picture the model does worse than on the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from beholder.base.arrays import F32, F64, I64
from beholder.bundle.bundle import Bundle
from beholder.duplicates.facts import facts, suffix_of
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.neighbours import unit
from beholder.measure.slices import Slice, judged, kinds, quarters

CLUSTERS = 12
"""At most so many clusters in feature space, each of 25 pictures or more on average."""

MOST_FEATURES = 256
"""Features beyond which k-means works on random projections to so many: on 5,000 features it takes longer than a test."""

SHOWN = 10
KEYS = 24
SIGNIFICANT = 0.05


def slices(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the slices that were looked at, the most surely bad first; None where no slice is large enough.

    {"n"; "measure": "accuracy", or "labels" (share of the labels guessed right); "looked_at": slices; "overall": mean;
    "worst": the first of "slices" if its p is at most 0.05, else None; "lowest": name of the one with the lowest mean;
    "slices": up to ten of {"name", "by", "score", "rest", "p", "keys": mistakes first, "share": of the tested pictures}}
    By: size, shape, brightness, contrast, sharpness, file type, group, class, and clusters of the features. Quarters of a
    measured value are cut at its quartiles. p and intervals are corrected for "looked_at"; slices of fewer than ten pictures
    (or groups) are left out.
    """
    if evaluation.pictures is None or not len(evaluation.features):
        return None
    values = bundle.task.family.right(evaluation.probabilities, evaluation.targets, bundle.config.thresholds)
    found = judged(values, _slices(evaluation), clusters=evaluation.groups)
    if not found:
        return None
    shown = [_json(one, values, evaluation.keys) for one in found[:SHOWN]]
    return {
        "n": len(values),
        "measure": bundle.task.measure,
        "looked_at": len(found),
        "overall": float(values.mean()),
        "worst": shown[0] if found[0].p <= SIGNIFICANT else None,
        "lowest": min(found, key=lambda one: one.score.value).name,
        "slices": shown,
    }


def grouped(features: F32, *, seed: int = 0) -> dict[str, I64]:
    """Return the rows of each of up to `CLUSTERS` clusters (k-means) of features (N, F), scaled to length 1.

    They are found without regard to what is right or wrong, so scoring them is no double use.
    """
    count = min(CLUSTERS, len(features) // 25)
    if count < 2 or not np.isfinite(features).all():
        return {}
    from sklearn.cluster import KMeans

    seen = unit(features)
    if seen.shape[1] > MOST_FEATURES:  # distances are kept to a few per cent (Johnson & Lindenstrauss 1984)
        seen = seen @ np.random.default_rng(seed).standard_normal((seen.shape[1], MOST_FEATURES), np.float32)
    distinct = min(count, len(np.unique(seen[:1000], axis=0)))
    if distinct < 2:
        return {}
    rows = np.random.default_rng(seed).permutation(len(seen))[:5000]
    fitted = KMeans(distinct, n_init=2, max_iter=50, random_state=seed).fit(seen[rows])
    labels = fitted.predict(seen)
    return {f"cluster {k + 1}": np.flatnonzero(labels == k) for k in range(distinct)}


def _slices(evaluation: Evaluation) -> dict[str, I64]:
    """Return every slice by its name, "what: which"."""
    pictures = evaluation.pictures
    assert pictures is not None
    table = facts(pictures)
    readable = table["error"] == b""
    measured = {
        "size": np.sqrt(table["height"].astype(np.float64) * table["width"]),
        "shape": table["width"] / np.maximum(table["height"], 1),
        "brightness": table["light"][:, 2].astype(np.float64),
        "contrast": table["spread"].astype(np.float64),
        "sharpness": 1 - table["blur"].astype(np.float64),
        "bytes": table["bytes"].astype(np.float64),
    }
    by = {name: quarters(np.where(readable, column, np.nan)) for name, column in measured.items()}
    by["file type"] = kinds([kind.decode("ascii", "replace") for kind in table["format"]])
    by["file ending"] = kinds([suffix_of(key) for key in evaluation.keys])
    if (pictures.groups >= 0).any():
        by["group"] = kinds([str(group) if group >= 0 else "none" for group in pictures.groups.tolist()])
    if not pictures.multi:
        by["class"] = kinds([pictures.classes[target] for target in pictures.targets.tolist()])
    by["features"] = grouped(evaluation.features)
    return {f"{what}: {which}": rows for what, parts in by.items() for which, rows in parts.items()}


def _json(one: Slice, values: F64, keys: list[str]) -> dict[str, Any]:
    order = one.rows[np.argsort(values[one.rows], kind="stable")]
    return {
        "name": one.name,
        "by": one.name.partition(": ")[0],
        "score": one.score.json(),
        "rest": one.rest,
        "p": one.p,
        "share": len(one.rows) / len(values),
        "keys": [keys[row] for row in order[:KEYS].tolist()],
    }
