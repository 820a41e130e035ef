"""The section `shortcuts`: classes that can be predicted without what the pictures show, and whether the model does so.

The audit finds that a class can be told by file type, size, folder, brightness, border or corners alone. Most often that is how
the class looks, and nothing to worry about; sometimes it is where its pictures come from, and the whole score is that of the
file type. What is in the pixels can be covered: a model that goes on telling the class without it does not live by it. File
type, size and folder cannot be covered, only named.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from beholder.base.arrays import F32, U8, Bools, Integer
from beholder.base.cells import plain
from beholder.base.deadline import NEVER, Deadline
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.curves import auroc, of_area
from beholder.quality.checks.shortcuts import Shortcut, folder_of, stated
from beholder.runtime.inference import Held, outputs

MOST = 400
"""Tested pictures that are covered and asked about again."""

LEAST = 5
"""Tested pictures of a class, and of the others, below which nothing is said of it."""

NEAR = 0.02
"""What a shortcut may lack of the model's AUROC, where it does not lie in its interval, and still reach it."""

RING = 8
"""Part of the shorter side that is covered along each edge: an eighth, as the audit takes corners."""


def shortcuts(bundle: Bundle, evaluation: Evaluation, *, until: Deadline = NEVER) -> dict[str, Any] | None:
    """Return what the audit's shortcuts are to this model; None where the audit found none, or no class of them was tested.

    {"n": tested pictures; "rows": [{"label", "facet", "area", "low": AUROC of the shortcut in the audit and what it is surely
    above, "model": score, AUROC of the model for the same class on the tested pictures, "covered": the same once the cue is
    covered, None where it cannot be, "kind"}], those that stand first}
    kind: "stands" (it reaches the model, and cannot be covered, or the model loses half of what it knows without it), "look"
    (it reaches the model, which tells the class without it all the same), "unknown" (there was no time to cover it), "weaker"
    """
    found = [one for row in _audited(bundle) if (one := stated(row)) and one.label in bundle.classes]
    if not found or evaluation.pictures is None:
        return None
    shown = _Covered(bundle, evaluation, until)
    rows = [row for one in dict.fromkeys(found) if (row := _row(one, evaluation, bundle.classes, shown)) is not None]
    order = ("stands", "unknown", "look", "weaker")
    rows.sort(key=lambda row: (order.index(row["kind"]), -row["area"]))
    return {"n": len(evaluation.keys), "rows": rows} if rows else None


def _audited(bundle: Bundle) -> list[str]:
    """Return the sentences on shortcuts in the audit.csv that a bundle carries."""
    lines = csv.DictReader(io.StringIO(bundle.audit, newline=""))
    return [plain(line.get("verdict") or "") for line in lines if line.get("check") == "shortcut"]


def _row(one: Shortcut, evaluation: Evaluation, classes: tuple[str, ...], shown: _Covered) -> dict[str, Any] | None:
    label = classes.index(one.label)
    truth = _truth(evaluation.targets, label)
    n = min(int(truth.sum()), int((~truth).sum()))
    if n < LEAST:
        return None
    area, added = auroc(evaluation.probabilities[:, label], truth)
    model = of_area(area, added, len(truth), units=n)
    covered = shown.area(one.facet, label)
    if one.area < min(model.low, area - NEAR):
        kind = "weaker"
    elif one.facet in COVERS:
        kind = "unknown" if covered is None else "stands" if covered[1] - 0.5 < (covered[0] - 0.5) / 2 else "look"
    else:
        kind = "stands" if _visible(one.facet, evaluation.pictures, classes) else "look"
    return {
        "label": one.label,
        "facet": one.facet,
        "area": one.area,
        "low": one.low,
        "model": model.json(),
        "covered": None if covered is None else covered[1],
        "kind": kind,
    }


def _truth(targets: Integer, label: int) -> Bools:
    return np.asarray(targets[:, label] > 0 if targets.ndim == 2 else targets == label)


def _visible(facet: str, pictures: Pictures | None, classes: tuple[str, ...]) -> bool:
    """Return whether a cue may be that of a place: folders that lie in one class each are kinds of it, not hospitals."""
    if facet != "source folder" or pictures is None:
        return True
    held: dict[str, set[tuple[str, ...]]] = {}
    for row, key in enumerate(pictures.keys):
        held.setdefault(folder_of(key, classes), set()).add(pictures.labels(row))
    return any(len(labels) > 1 for labels in held.values())


class _Covered:
    """What the model says of a sample of the tested pictures as they are, and once a cue in their pixels is covered."""

    def __init__(self, bundle: Bundle, evaluation: Evaluation, until: Deadline) -> None:
        self.bundle, self.evaluation, self.until = bundle, evaluation, until
        n = len(evaluation.keys)
        self.rows = np.sort(np.random.default_rng(0).permutation(n)[:MOST])
        self.said: dict[str, F32] = {}

    def area(self, facet: str, label: int) -> tuple[float, float] | None:
        """Return the AUROC of a class in the sample as it is, and covered; None for what cannot be covered, or without time."""
        pixels = self.evaluation.pixels
        if facet not in COVERS or pixels is None:
            return None
        cover = COVERS[facet]
        if cover.__name__ not in self.said:
            if self.until.passed:
                return None
            images = Held(cover(pixels.take(self.rows)))
            self.said[cover.__name__] = self.bundle.activated(outputs(self.bundle, images, label="covering shortcuts")[0])
        truth = _truth(self.evaluation.targets[self.rows], label)
        if not truth.any() or truth.all():
            return None
        before, after = self.evaluation.probabilities[self.rows, label], self.said[cover.__name__][:, label]
        return auroc(before, truth)[0], auroc(after, truth)[0]


def without_edges(images: U8) -> U8:
    """Return pictures, uint8 (N, C, H, W), whose outer eighth is covered by the mirror image of what lies inside of it."""
    ring = max(1, min(images.shape[2:]) // RING)
    if min(images.shape[2:]) < 4 * ring:
        return images
    inside = images[:, :, ring:-ring, ring:-ring]
    return np.asarray(np.pad(inside, ((0, 0), (0, 0), (ring, ring), (ring, ring)), mode="reflect"))


def evenly_lit(images: U8) -> U8:
    """Return pictures, uint8 (N, C, H, W), all as light as the one in the middle, and of its contrast up to a factor of 2."""
    values = images.astype(np.float32)
    luma = values.mean(axis=1)
    mean, spread = luma.mean(axis=(1, 2)), np.maximum(luma.std(axis=(1, 2)), 1.0)
    gain = np.clip(np.median(spread) / spread, 0.5, 2.0)[:, None, None, None]
    lit = (values - mean[:, None, None, None]) * gain + np.median(mean)
    return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)


COVERS = {"brightness": evenly_lit, "border": without_edges, "corners": without_edges}
"""How what a class is told by is taken out of the pixels."""
