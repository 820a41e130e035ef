"""The section `abstention`: what is left of the mistakes where the least sure answers are given up; whether promises held."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.bundle.bundle import Bundle
from beholder.measure.abstention import Operating, aurc, certainty, mistakes, risk_coverage
from beholder.measure.conformal import Sets
from beholder.measure.intervals import wilson
from beholder.use.evaluate import Evaluation

POINTS = 100
RISKS = (0.005, 0.01, 0.02, 0.05, 0.1)


def abstention(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
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
    p, targets, multi = evaluation.probabilities, evaluation.targets, bundle.multi
    if not len(p):
        return None
    pictures = evaluation.pictures
    groups = pictures.groups if pictures is not None and (pictures.groups >= 0).any() else None
    sure = certainty(p, multi=multi)
    wrong = mistakes(p, targets, multi=multi, thresholds=bundle.config["thresholds"])
    found: dict[str, Any] = {**_curve(sure, wrong), "aurc": aurc(sure, wrong, groups=groups).json()}
    if (point := bundle.operating("risk")) is not None:
        found["risk"] = {**point.json(), **_risk(point, sure, wrong)}
    if (point := bundle.operating("sensitivity")) is not None:
        k = bundle.classes.index(point.label)
        truth = targets[:, k].astype(bool) if multi else targets == k
        found["sensitivity"] = {**point.json(), **_sensitivity(point, p[:, k], truth)}
    if bundle.sets is not None:
        found["conformal"] = _conformal(bundle.sets, p, targets, bundle.classes, multi=multi)
    return found


def _curve(sure: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> dict[str, Any]:
    coverage, risk, threshold = risk_coverage(sure, wrong)
    rows = np.unique(np.linspace(0, len(coverage) - 1, POINTS).round().astype(np.int64))
    curve = [{"coverage": float(coverage[i]), "risk": float(risk[i]), "threshold": float(threshold[i])} for i in rows]
    return {"curve": curve, "at": [{"risk": r, "coverage": float(coverage[risk <= r].max(initial=0.0))} for r in RISKS]}


def _risk(point: Operating, sure: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> dict[str, Any]:
    if point.threshold is None:
        return {}
    answered = sure >= point.threshold
    risk = wilson(int(wrong[answered].sum()), int(answered.sum()))
    covered = wilson(int(answered.sum()), len(answered))
    return {"coverage": covered.json(), "risk": risk.json(), "kept": bool(risk.n == 0 or risk.value <= point.target)}


def _sensitivity(point: Operating, p: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> dict[str, Any]:
    if point.threshold is None:
        return {}
    called = p >= point.threshold
    found, quiet = wilson(int(called[truth].sum()), int(truth.sum())), wilson(int((~called[~truth]).sum()), int((~truth).sum()))
    precise = wilson(int(truth[called].sum()), int(called.sum()))
    scores = {"sensitivity": found.json(), "specificity": quiet.json(), "precision": precise.json()}
    return {**scores, "kept": bool(found.n == 0 or found.value >= point.target)}


def _conformal(
    sets: Sets, p: npt.NDArray[np.float32], targets: npt.NDArray[Any], classes: tuple[str, ...], *, multi: bool
) -> dict[str, Any]:
    inside = sets(p)
    truth = targets.astype(bool) if multi else np.eye(len(classes), dtype=bool)[targets]
    kept, size = inside & truth, inside.sum(axis=1)
    promise = sets.json()
    sizes, counts = np.unique(size, return_counts=True)
    each = {name: wilson(int(kept[:, k].sum()), int(truth[:, k].sum())) for k, name in enumerate(classes)}
    return {
        "kind": sets.kind,
        "coverage_promised": sets.coverage,
        "per_class": sets.per_class,
        "n": sets.n,
        "spread": promise["spread"],
        "coverage": wilson(int(kept.sum()), int(truth.sum())).json(),
        "mean_size": float(size.mean()),
        "sizes": {str(s): int(c) for s, c in zip(sizes.tolist(), counts.tolist(), strict=True)},
        **({} if multi else {"single": wilson(int((size == 1).sum()), len(size)).json()}),
        "classes": {name: score.json() for name, score in each.items() if score.n},
    }
