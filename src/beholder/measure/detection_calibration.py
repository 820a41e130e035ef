"""Whether a found box of score 0.8 is right in eight of ten cases, and the map of scores that makes it so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beholder.base.arrays import F64, Bools, Floating
from beholder.base.brief import shown
from beholder.measure.detection_matching import IGNORED, RIGHT, Matches
from beholder.measure.detection_points import OVERLAP
from beholder.measure.reliability import calibration_error, diagram

BINS = 10
KNOTS, EACH = 20, 20
"""Knots of a map at most, and found boxes behind each at least."""


@dataclass(frozen=True)
class ScoreMap:
    """A rising, piecewise linear map of scores to shares of right boxes.

    scores, shares: its knots, both ascending and as long as each other; n: found boxes it was fitted on; reason: why it is so
    """

    scores: tuple[float, ...]
    shares: tuple[float, ...]
    n: int
    reason: str = ""

    __repr__ = shown

    def __call__(self, scores: Floating) -> F64:
        """Return calibrated scores float64 (M,), in the order that they had; beyond the knots it is level."""
        return np.asarray(np.interp(scores, self.scores, self.shares), np.float64)

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {**asdict(self), "scores": list(self.scores), "shares": list(self.shares)}


def outcomes(matches: Matches, *, overlap: float = OVERLAP) -> tuple[F64, Bools]:
    """Return the scores of the found boxes, float64 (D,), and which are right, bool (D,); ignored ones are left out."""
    states = matches.states[:, matches.at(overlap), 0]
    counts = states != IGNORED
    return matches.scores[counts], states[counts] == RIGHT


def reliability(scores: F64, right: Bools, *, bins: int = BINS) -> tuple[float, list[dict[str, Any]]]:
    """Return the expected calibration error of scores (D,) and the bins of its diagram.

    Bins are of equal numbers of boxes and not of equal width, and the error is less what chance adds, as for pictures
    (`beholder.measure.reliability`). A detector gives many boxes of low scores: those that nobody is shown should be left out.
    Source: F. Küppers et al., Multivariate confidence calibration for object detection, CVPR workshops (2020).
    """
    return calibration_error(scores[:, None], right[:, None], bins=bins), diagram(scores[:, None], right[:, None], bins=bins)


def fit(scores: F64, right: Bools) -> ScoreMap:
    """Return the map of scores (D,) in 0..1 to the share of right boxes, by centred isotonic regression.

    Scores fall into bins of equal numbers; shares of bins, with half a right and half a false box added to each, are made to
    ascend, and what became equal is one knot at its mean score. The ends lie halfway to 0 and 1, so that no two scores become
    one and the order of boxes stays. Fewer than 2 · `EACH` boxes change nothing.
    Source: A. Oron, N. Flournoy, Centered isotonic regression, Statistics in Biopharmaceutical Research 9 (2017).
    """
    from scipy.optimize import isotonic_regression

    n = len(scores)
    if n < 2 * EACH:
        return ScoreMap((0.0, 1.0), (0.0, 1.0), n, f"{n} found boxes are too few to calibrate on")
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, min(KNOTS, n // EACH) + 1)))
    place = np.searchsorted(edges[1:-1], scores, side="right")
    count, total, hits = (np.bincount(place, weights).astype(np.float64) for weights in (None, scores, right))
    count, total, hits = (column[count > 0] for column in (count, total, hits))
    rising = isotonic_regression((hits + 0.5) / (count + 1), weights=count).x
    shares, block = np.unique(rising, return_inverse=True)
    knots = np.bincount(block, total) / np.bincount(block, count)
    low, high = knots[0] > 0, knots[-1] < 1
    x = [*([0.0] if low else []), *knots.tolist(), *([1.0] if high else [])]
    y = [*([float(shares[0]) / 2] if low else []), *shares.tolist(), *([(1 + float(shares[-1])) / 2] if high else [])]
    return ScoreMap(tuple(x), tuple(y), n, f"centred isotonic regression on {n:,} found boxes")
