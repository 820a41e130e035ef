"""The section `corruptions`: the score under noise, blur, weather, compression and geometric changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from beholder.base import events
from beholder.base.arrays import F32, F64, I64
from beholder.base.records import Score
from beholder.bundle.bundle import Bundle
from beholder.bundle.infer import outputs
from beholder.evaluation.evaluate import Evaluation
from beholder.image.corruptions import CORRUPTIONS, GROUPS, IMAGENET_C, SEVERITIES, corrupt
from beholder.machine.device import device
from beholder.machine.placement import evaluating
from beholder.measure.comparison import apart
from beholder.measure.intervals import bootstrap, cluster_numbers
from beholder.measure.means import mean_score

PIXELS = 2**22
"""Pixels of clean pictures that are looked at, as far as `FEWEST` and `MOST` allow."""

FEWEST, MOST = 100, 1000
"""Pictures that are looked at: at least, where there are so many, and at most."""

BATCH = 2**20
"""Pixels that are corrupted together: 256 pictures of 64 pixels a side, 20 of 224."""

FEWEST_CHANGED = 5
"""Pictures, or groups, that some corruption changes for the better or worse: with fewer, resamples show too little spread."""

SEED = 0


def corruptions(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the accuracy under each corruption and severity on a sample of the pictures; None where pixels were not kept.

    {"n", "of": pictures looked at, and tested; "measure": "accuracy" (one label each) or "labels" (share of the labels that are
    guessed right); "clean": score; "kinds": name → {"group", "severities": five scores, "mean": score over them};
    "error": mean corruption error over the fifteen kinds of ImageNet-C, not divided by another net's; "lost": that less the
    clean error; "error_all": over all kinds; "worst": {"kind", "severity", "score"}, whose interval is corrected (Bonferroni)
    for the number of kinds times severities it was picked from; "worst_kind": {"kind", "score"}, likewise for the kinds}
    Corruptions are applied to the pixels that the net is given. Intervals resample groups where there are some.
    """
    if evaluation.pixels is None or not len(evaluation.pixels):
        return None
    rows = sample(len(evaluation.pixels), bundle.policy.height * bundle.policy.width)
    clusters = None if evaluation.groups is None else evaluation.groups[rows]
    every, table = CORRUPTIONS.sound(), dict[str, list[F64]]()
    clean = right(bundle, evaluation, rows, evaluation.logits[rows])
    with evaluating(bundle.net, on=device()):
        for k, name in enumerate(every):
            with CORRUPTIONS.tolerant(name):
                each = (_logits(bundle, evaluation, rows, name, severity) for severity in SEVERITIES)
                table[name] = [right(bundle, evaluation, rows, logits) for logits in each]
            events.progress("corrupting", k + 1, len(every))
    found = summary(list(table), clean, np.array(list(table.values())), clusters)
    return {"n": len(rows), "of": len(evaluation.pixels), "measure": bundle.task.measure, **found}


def sample(n: int, area: int) -> I64:
    """Return which of `n` pictures of `area` pixels are looked at, in order: the same at every call."""
    wanted = min(n, max(FEWEST, min(MOST, PIXELS // max(area, 1))))
    return np.sort(np.random.default_rng(SEED).permutation(n)[:wanted]).astype(np.int64)


def right(bundle: Bundle, evaluation: Evaluation, rows: I64, logits: F32) -> F64:
    """Return float64 (n,): 1 where the prediction is right, 0 elsewhere; of several labels the share that is guessed right."""
    return bundle.task.family.right(bundle.activated(logits), evaluation.targets[rows], bundle.config.thresholds)


def summary(names: list[str], clean: F64, table: F64, clusters: I64 | None) -> dict[str, Any]:
    """Return the figures of the section; clean: (n,), table: (kinds, severities, n), what each picture scored."""
    group = {name: group for group, members in GROUPS.items() for name in members}
    kinds = {
        name: {
            "group": group.get(name, "other"),
            "severities": [mean_score(cell, clusters=clusters).json() for cell in cells],
            "mean": mean_score(cells.mean(axis=0), clusters=clusters).json(),
        }
        for name, cells in zip(names, table, strict=True)
    }
    chosen = [k for k, name in enumerate(names) if name in IMAGENET_C]
    error = 1 - table[chosen].mean(axis=(0, 1))
    cell, kind = table.mean(axis=2), table.mean(axis=(1, 2))
    k, s = (int(i) for i in np.unravel_index(cell.argmin(), cell.shape))
    worst = int(kind.argmin())
    corrected = {"level": 1 - 0.05 / cell.size}, {"level": 1 - 0.05 / kind.size}
    return {
        "clean": mean_score(clean, clusters=clusters).json(),
        "kinds": kinds,
        "error": mean_score(error, clusters=clusters).json(),
        "error_all": mean_score(1 - table.mean(axis=(0, 1)), clusters=clusters).json(),
        "lost": _lost(clean, error, clusters).json(),
        "worst": {
            "kind": names[k],
            "severity": SEVERITIES[s],
            "score": mean_score(table[k, s], clusters=clusters, **corrected[0]).json(),
        },
        "worst_kind": {
            "kind": names[worst],
            "score": mean_score(table[worst].mean(axis=0), clusters=clusters, **corrected[1]).json(),
        },
    }


def _lost(clean: F64, error: F64, clusters: I64 | None) -> Score:
    """Return how much is lost, with the interval of a bootstrap; where next to no picture (or group) changes that has no width.

    Then it is made of the intervals of both scores, as if they were independent.
    """
    lost = error - (1 - clean)
    if (np.bincount(cluster_numbers(len(lost), clusters), np.abs(lost)) > 0).sum() < FEWEST_CHANGED:
        return apart(mean_score(1 - error, clusters=clusters), mean_score(clean, clusters=clusters), 0.0)
    return bootstrap(lambda weights: float(np.average(lost, weights=weights)), len(lost), clusters=clusters)


def _logits(bundle: Bundle, evaluation: Evaluation, rows: I64, name: str, severity: int) -> F32:
    assert evaluation.pixels is not None
    on = next(bundle.net.parameters()).device
    found, batch = [], max(1, min(256, BATCH // (bundle.policy.height * bundle.policy.width)))
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        images = torch.from_numpy(np.ascontiguousarray(evaluation.pixels.take(some))).to(on)
        found.append(outputs(bundle.net, corrupt(images, name, severity, some.tolist(), seed=SEED), bundle.config)[0].cpu())
    return torch.cat(found).numpy()
