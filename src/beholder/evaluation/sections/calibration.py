"""The section `calibration`: calibration error, Brier score and log loss before and after calibration."""

from __future__ import annotations

from typing import Any

from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.reliability import certainties, diagram, measures


def calibration(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return what the calibration of the bundle does on these pictures; None without logits.

    method: none | temperature | vector, what the bundle carries; temperature: 1 / the mean factor on its logits; n_fitted:
    validation pictures behind it (0: the bundle was made before there was calibration); reason: a sentence.
    before, after: scores ece (debiased expected calibration error, 15 bins of equal numbers), ece_plain (the
    same, not debiased),
    brier, nll. difference: after less before, of the same names: below 0 is better.
    reliability: {"before", "after"}, each a list of bins {"low", "high", "certainty", "right": a score, "n"}.
    """
    if not len(evaluation.logits):
        return None
    family, targets = bundle.task.family, evaluation.targets
    scaling = bundle.config.calibration
    scaled = scaling(evaluation.logits) if scaling else evaluation.logits
    both: list[tuple[Any, Any]] = [
        (family.probabilities(evaluation.logits), family.losses(evaluation.logits, targets)),
        (evaluation.probabilities, family.losses(scaled, targets)),
    ]
    found = measures(both, targets, family=family, groups=evaluation.groups)
    return {
        "method": scaling.method if scaling else "none",
        "temperature": scaling.temperature if scaling else 1.0,
        "n_fitted": scaling.n if scaling else 0,
        "reason": scaling.reason if scaling else "the bundle was made without calibration",
        "before": _json(found.scores(0)),
        "after": _json(found.scores(1)),
        "difference": _json(found.difference(1, 0)),
        "reliability": {
            name: diagram(*certainties(p, targets, family=family))
            for name, (p, _) in zip(("before", "after"), both, strict=True)
        },
    }


def _json(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: score.json() for name, score in scores.items()}
