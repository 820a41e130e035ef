"""The section `calibration`: how far the probabilities can be taken at their word, before and after calibration."""

from __future__ import annotations

from typing import Any

from beholder.bundle.bundle import Bundle
from beholder.measure.calibration import Calibration, losses, probabilities
from beholder.measure.reliability import certainties, diagram, measures
from beholder.use.evaluate import Evaluation


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
    multi, targets, pictures = bundle.multi, evaluation.targets, evaluation.pictures
    groups = pictures.groups if pictures is not None and (pictures.groups >= 0).any() else None
    kept = bundle.config.get("calibration")
    scaling = Calibration.from_json(kept) if kept else None
    scaled = scaling(evaluation.logits) if scaling else evaluation.logits
    plain = probabilities(evaluation.logits, multi=multi)
    both: list[tuple[Any, Any]] = [
        (plain, losses(evaluation.logits, targets, multi=multi)),
        (evaluation.probabilities, losses(scaled, targets, multi=multi)),
    ]
    found = measures(both, targets, multi=multi, groups=groups)
    return {
        "method": scaling.method if scaling else "none",
        "temperature": scaling.json()["temperature"] if scaling else 1.0,
        "n_fitted": scaling.n if scaling else 0,
        "reason": scaling.reason if scaling else "the bundle was made without calibration",
        "before": _json(found.scores(0)),
        "after": _json(found.scores(1)),
        "difference": _json(found.difference(1, 0)),
        "reliability": {
            name: diagram(*certainties(p, targets, multi=multi)) for name, (p, _) in zip(("before", "after"), both, strict=True)
        },
    }


def _json(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: score.json() for name, score in scores.items()}
