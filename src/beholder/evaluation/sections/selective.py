"""The section `selective`: the risk-coverage curve, and whether operating points and prediction sets kept their guarantee."""

from __future__ import annotations

from typing import Any

import numpy as np

from beholder.base.arrays import F32, F64, Bools
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.conformal import Sets, spread
from beholder.measure.intervals import wilson
from beholder.measure.selective import Operating, aurc, mistakes, risk_coverage

POINTS = 100
RISKS = (0.005, 0.01, 0.02, 0.05, 0.1)


def selective(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the risk-coverage curve and what the bundle's operating points and sets do on these pictures; None without any.

    curve: up to 100 points {"coverage", "risk", "threshold"}, from the surest answers to all of them; aurc: the area under it,
    a score.
    at: for some risks {"risk", "coverage"}: the share of pictures that could be answered; read off these pictures, so no
    promise.
    risk, sensitivity: the operating points that were asked for, as the bundle keeps them: "target", "confidence", "threshold"
    (None: nothing could be promised), "n" (validation pictures behind it), "label", "reason"; and on these pictures the scores
    of risk: "coverage" (answered) and "risk" (wrong among the answered), "kept": whether its value is at most the target;
    of sensitivity: "sensitivity", "specificity", "precision", "kept".
    conformal: "kind", "coverage_promised", "per_class", "n" (validation pictures), "spread"
    (within what the promise holds for that n),
    and on these pictures the scores "coverage" and, for single-label, "single" (sets of one class), the number "mean_size",
    "sizes" (size → pictures) and "classes" (class → score of coverage). Intervals are Wilson's; groups are not regarded.
    """
    p, targets, family = evaluation.probabilities, evaluation.targets, bundle.task.family
    if not len(p):
        return None
    sure, wrong = family.certainty(p), mistakes(bundle.answers(p), targets)
    truth = family.hot(targets, len(bundle.classes)) > 0
    found: dict[str, Any] = {**_curve(sure, wrong), "aurc": aurc(sure, wrong, groups=evaluation.groups).json()}
    if (point := bundle.operating("risk")) is not None:
        found["risk"] = {**point.json(), **_risk(point, sure, wrong)}
    if (point := bundle.operating("sensitivity")) is not None:
        k = bundle.classes.index(point.label)
        found["sensitivity"] = {**point.json(), **_sensitivity(point, p[:, k], truth[:, k])}
    if bundle.config.prediction_sets is not None:
        found["conformal"] = _conformal(bundle.config.prediction_sets, p, truth, bundle)
    return found


def _curve(sure: F64, wrong: Bools) -> dict[str, Any]:
    coverage, risk, threshold = risk_coverage(sure, wrong)
    rows = np.unique(np.linspace(0, len(coverage) - 1, POINTS).round().astype(np.int64))
    curve = [{"coverage": float(coverage[i]), "risk": float(risk[i]), "threshold": float(threshold[i])} for i in rows]
    return {"curve": curve, "at": [{"risk": r, "coverage": float(coverage[risk <= r].max(initial=0.0))} for r in RISKS]}


def _risk(point: Operating, sure: F64, wrong: Bools) -> dict[str, Any]:
    if point.threshold is None:
        return {}
    answered = sure >= point.threshold
    risk = wilson(int(wrong[answered].sum()), int(answered.sum()))
    covered = wilson(int(answered.sum()), len(answered))
    return {"coverage": covered.json(), "risk": risk.json(), "kept": bool(risk.n == 0 or risk.value <= point.target)}


def _sensitivity(point: Operating, p: F32, truth: Bools) -> dict[str, Any]:
    if point.threshold is None:
        return {}
    called = p >= point.threshold
    found, quiet = wilson(int(called[truth].sum()), int(truth.sum())), wilson(int((~called[~truth]).sum()), int((~truth).sum()))
    precise = wilson(int(truth[called].sum()), int(called.sum()))
    scores = {"sensitivity": found.json(), "specificity": quiet.json(), "precision": precise.json()}
    return {**scores, "kept": bool(found.n == 0 or found.value >= point.target)}


def _conformal(sets: Sets, p: F32, truth: Bools, bundle: Bundle) -> dict[str, Any]:
    inside = sets(p)
    kept, size = inside & truth, inside.sum(axis=1)
    sizes, counts = np.unique(size, return_counts=True)
    each = {name: wilson(int(kept[:, k].sum()), int(truth[:, k].sum())) for k, name in enumerate(bundle.classes)}
    return {
        "kind": sets.kind,
        "coverage_promised": sets.coverage,
        "per_class": sets.per_class,
        "n": sets.n,
        "spread": list(spread(sets.n, sets.coverage)),
        "coverage": wilson(int(kept.sum()), int(truth.sum())).json(),
        "mean_size": float(size.mean()),
        "sizes": {str(s): int(c) for s, c in zip(sizes.tolist(), counts.tolist(), strict=True)},
        **({} if bundle.task.several else {"single": wilson(int((size == 1).sum()), len(size)).json()}),
        "classes": {name: score.json() for name, score in each.items() if score.n},
    }
