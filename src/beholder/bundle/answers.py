"""The answer for one picture, the same in a file of lines and over the network."""

from __future__ import annotations

from typing import Any

from beholder.base.arrays import F32, U8
from beholder.bundle.recogniser import NOT_FINITE, Recogniser


def answers(recogniser: Recogniser, images: U8, *, keep: bool = False) -> list[dict[str, Any]]:
    """Return {"label", "p", "probabilities", …} for each of `images`, uint8 (N, C, height, width), N ≥ 1.

    Where the model has an operating point, sets or references there are "abstain", "positive", "set", "ood" and "ood_score"
    (see `Prediction`) too, and until 0.3.0 the last two as "stranger" and "strangeness".
    keep: "features" too, float32 (F,)
    {"error": {"code", "message"}} alone for a picture to which the net answers NaN or infinity.
    """
    logits, features = recogniser.outputs(images)
    unfit = recogniser.unfit(logits, features)
    told = _said(recogniser, logits[~unfit], features[~unfit])
    if keep:
        told = [{**answer, "features": row} for answer, row in zip(told, features[~unfit], strict=True)]
    said = iter(told)
    return [{"error": {"code": "not-finite", "message": NOT_FINITE}} if bad else next(said) for bad in unfit.tolist()]


def _said(recogniser: Recogniser, logits: F32, features: F32) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for told in recogniser.predictions(logits, features):
        answer = {"label": told.label, "p": told.p, "probabilities": told.probabilities, **told.beyond()}
        if told.ood is not None:
            answer |= {"stranger": told.ood, "strangeness": told.ood_score}
        found.append(answer)
    return found
