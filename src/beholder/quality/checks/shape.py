"""Pictures of unusual size or aspect ratio, and pictures that were enlarged."""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F64
from beholder.quality.checks import Check, Evidence, Marks

DECADE = 8.0
"""A picture this many times as wide or narrow, or with so many times the side, as the median is surely odd."""


def _oddness(values: F64, readable: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> F64:
    """Return how far each positive value lies from the median, as a share of `DECADE`, beyond the spread of the others."""
    if not readable.any():
        return np.full(len(values), np.nan)
    logs = np.log(np.where(readable, np.maximum(values, 1e-9), 1.0))
    away = np.abs(logs - np.median(logs[readable]))
    usual = np.quantile(away[readable], 0.9)
    return np.where(readable, np.clip((away - usual) / np.log(DECADE), 0.0, 1.0), np.nan)


def size(evidence: Evidence) -> Marks:
    """Score how many times larger or smaller its side is than usual here, on a logarithmic scale."""
    facts = evidence.facts
    side = np.sqrt(facts["height"].astype(np.float64) * facts["width"])
    return Marks(_oddness(side, evidence.readable))


def aspect(evidence: Evidence) -> Marks:
    """Score how many times wider or narrower its shape is than usual here, on a logarithmic scale."""
    facts = evidence.facts
    return Marks(_oddness(facts["width"] / np.maximum(facts["height"], 1).astype(np.float64), evidence.readable))


def upscaled(evidence: Evidence) -> Marks:
    """Score how little of its detail is finer than two pixels, beside the sharper quarter of the set (docs/LOG.md).

    From 0.5 on half its size would hold all of it: it has half as much as the sharper quarter, which counts as `FINE` at
    most and as `SOFT` at least. So a set that is soft throughout, such as scans, is measured by what is usual in it.
    """
    facts = evidence.facts
    told = (np.minimum(facts["height"], facts["width"]) >= SMALLEST) & (facts["spread"] > 0.01) & evidence.readable
    fine = facts["fine"].astype(np.float64)
    usual = float(np.clip(np.quantile(fine[told], 0.75), SOFT, FINE)) if told.any() else FINE
    return Marks(np.where(told, 1 - np.clip(fine / usual, 0.0, 1.0), np.nan))


FINE, SOFT = 0.5, 0.24
"""Share of fine detail that a photograph in its full size has, and below half of which everything was enlarged three times."""

SMALLEST = 64
"""Short side in pixels below which enlargement cannot be told from smoothness."""

SIZE = Check(
    size, limit=0.5, sentence="its size is far from that of the others", hint="check whether it belongs here", group="shape"
)
ASPECT = Check(
    aspect, limit=0.4, sentence="its shape is far from that of the others", hint="crop it, or set data.fit=pad", group="shape"
)
LOW_DETAIL = Check(
    upscaled,
    limit=0.5,
    sentence="half its size would hold all its detail: it was enlarged, or is out of focus",
    hint="find the original",
    group="shape",
)
