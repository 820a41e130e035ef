"""Pictures that are too dark, too bright, flat, blurred, or show nothing at all."""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F64
from beholder.quality.checks import Check, Evidence, Marks


def _where_readable(evidence: Evidence, scores: F64) -> Marks:
    return Marks(np.where(evidence.readable, np.clip(scores, 0.0, 1.0), np.nan))


def dark(evidence: Evidence) -> Marks:
    """Score 1 less the 99th percentile of the luma: even the brightest parts are dark."""
    return _where_readable(evidence, 1 - evidence.facts["light"][:, 4].astype(np.float64))


def bright(evidence: Evidence) -> Marks:
    """Score the 5th percentile of the luma: even the darkest parts are bright."""
    return _where_readable(evidence, evidence.facts["light"][:, 1].astype(np.float64))


def contrast(evidence: Evidence) -> Marks:
    """Score 1 less the range from the 1st to the 99th percentile of the luma."""
    light = evidence.facts["light"].astype(np.float64)
    return _where_readable(evidence, 1 - (light[:, 4] - light[:, 0]))


def blurred(evidence: Evidence) -> Marks:
    """Score how little is lost by blurring the picture again; see `beholder.duplicates.appearance.sharpness`."""
    return _where_readable(evidence, evidence.facts["blur"].astype(np.float64))


def uniform(evidence: Evidence) -> Marks:
    """Score the share of the pixels within 4 of 255 levels of the commonest luma."""
    return _where_readable(evidence, evidence.facts["mode"].astype(np.float64))


DARK = Check(
    dark, limit=0.68, sentence="almost all of it is dark", hint="check whether its label can still be seen", group="exposure"
)
BRIGHT = Check(
    bright, limit=0.95, sentence="almost all of it is white", hint="check whether its label can still be seen", group="exposure"
)
CONTRAST = Check(
    contrast,
    limit=0.9,
    sentence="it has hardly any contrast",
    hint="check whether its label can still be seen",
    group="exposure",
)
BLURRED = Check(
    blurred,
    limit=0.55,
    sentence="it is out of focus, or blurred by motion",
    hint="drop it where its label cannot be seen",
    group="exposure",
)
UNIFORM = Check(
    uniform,
    limit=0.998,
    sentence="it is one uniform surface",
    hint="drop it: there is nothing to see",
    group="exposure",
    suggestion="drop",
)
