"""Parity of an export with its bundle, measured before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from beholder.base.arrays import F32
from beholder.base.errors import BundleError
from beholder.base.records import Score
from beholder.bundle.recogniser import Recogniser
from beholder.measure.comparison import paired
from beholder.measure.intervals import wilson
from beholder.runtime import exports
from beholder.runtime.export.samples import Sample
from beholder.runtime.exported import Exported


@dataclass(frozen=True)
class Parity:
    """What separates an export from its bundle on the same pixels.

    most, mean: difference of probabilities; agreement: share of pictures with the same label; accuracy: of the bundle, of the
    export, and the paired difference of the two with its interval, where labels are known; resized: (most, mean, n) of
    probabilities where the graph resizes the pictures itself, None where it does not; what: the pictures, in words
    """

    most: float
    mean: float
    agreement: Score
    accuracy: tuple[float, float, Score] | None
    resized: tuple[float, float, int] | None
    what: str

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found: dict[str, Any] = {"pictures": self.what, "n": self.agreement.n}
        found |= {"max": self.most, "mean": self.mean, "agreement": self.agreement.json()}
        if self.accuracy is not None:
            before, after, difference = self.accuracy
            found["accuracy"] = {"bundle": before, "export": after, "difference": difference.json()}
        if self.resized is not None:
            found["resized"] = dict(zip(("max", "mean", "n"), self.resized, strict=True))
        return found

    def __str__(self) -> str:
        lines = [
            f"on {self.what}:",
            f"  probabilities differ by {self.most:.2g} at most, {self.mean:.2g} on average",
            f"  the same label: {self.agreement}",
        ]
        if self.accuracy is not None:
            before, after, change = self.accuracy
            interval = f"[{change.low:+.3f}, {change.high:+.3f}]"
            lines.append(f"  right: {after:.3f} instead of {before:.3f}, a difference of {change.value:+.3f} {interval}")
        if self.resized is not None:
            most, mean, n = self.resized
            lines.append(f"  resized in the graph: probabilities differ by {most:.2g} at most, {mean:.2g} on average (n={n})")
        return "\n".join(lines)


def parity(bundle: Recogniser, export: Exported, sample: Sample, *, resizes: bool) -> Parity:
    """Return how near an export comes to its bundle. resizes: whether it takes pictures of any size."""
    ours, theirs = bundle.probabilities(sample.images), export.probabilities(sample.images)
    said = [[recogniser.guess(row).label for row in rows] for recogniser, rows in ((bundle, ours), (export, theirs))]
    same = sum(one == other for one, other in zip(*said, strict=True))
    apart = np.abs(ours - theirs)
    return Parity(
        most=float(apart.max()),
        mean=float(apart.mean()),
        agreement=wilson(same, len(ours)),
        accuracy=_accuracy(said[0], said[1], sample.truth) if sample.truth else None,
        resized=_resized(export, sample, ours) if resizes and sample.whole else None,
        what=sample.what,
    )


def check(found: Parity, precision: str) -> None:
    """Raise `BundleError` (not-the-same) if too few pictures get the same label."""
    least = exports.LEAST[precision]
    if not found.agreement.value >= least:
        raise BundleError(
            f"the export agrees with the bundle on the label of {found.agreement.value:.1%} of {found.agreement.n} pictures, "
            f"less than {least:.1%}",
            code="not-the-same",
            hint="--force writes it all the same; another precision may do better",
        )


def _accuracy(ours: list[str | None], theirs: list[str | None], truth: tuple[str, ...]) -> tuple[float, float, Score]:
    before, after = (np.array([guess == label for guess, label in zip(said, truth, strict=True)]) for said in (ours, theirs))
    return float(before.mean()), float(after.mean()), paired(before, after).difference


def _resized(export: Exported, sample: Sample, ours: F32) -> tuple[float, float, int]:
    rows = [row for row, _ in sample.whole]
    theirs = np.concatenate([export.probabilities(pixels[None]) for _, pixels in sample.whole])
    apart = np.abs(theirs - ours[rows])
    return float(apart.max()), float(apart.mean()), len(rows)
