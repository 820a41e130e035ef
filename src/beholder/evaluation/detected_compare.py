"""The verb `compare` for detectors: which of several finds boxes better on the same pictures, and how certain that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import I64
from beholder.base.brief import shown
from beholder.base.errors import DataError, UsageError
from beholder.base.names import position
from beholder.base.records import Pictures, Score
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Finder
from beholder.bundle.kept import Kept
from beholder.evaluation.chosen import part_named
from beholder.evaluation.compare import LEFT_OUT, common_rows, names_of
from beholder.evaluation.detected import DetectionEvaluation, evaluate
from beholder.measure.comparison import ALPHA
from beholder.measure.detection_matching import Matches, matched
from beholder.measure.detection_precision import Precisions, differences, intervals
from beholder.sources import scan
from beholder.sources.digest import digested


@dataclass(frozen=True)
class DetectedPair:
    """Two detectors beside each other.

    differences: ap, ap50, ap75 → the second's less the first's, paired over the pictures; classes: the same for each class
    level: of the intervals, so that those of all pairs hold at once
    """

    first: str
    second: str
    differences: Mapping[str, Score]
    classes: Mapping[str, Mapping[str, Score]]
    level: float

    __repr__ = shown

    @property
    def verdict(self) -> str:
        """Return what follows, in a sentence."""
        gap = self.differences["ap"]
        better, worse = (self.second, self.first) if gap.value > 0 else (self.first, self.second)
        size = f"{abs(gap.value):.3f} in AP, second less first {gap.short()}"
        if gap.low > 0 or gap.high < 0:
            return f"{better} finds boxes better than {worse}: by {size}."
        if gap.low != gap.low:
            return f"{self.first} and {self.second} are {size}: too few groups of pictures to tell whether that is chance."
        return f"Not settled: {self.first} and {self.second} are {size}; the interval holds 0."

    def json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.differences["ap"].json(),
            "differences": {name: score.json() for name, score in self.differences.items()},
            "classes": {name: {key: score.json() for key, score in of.items()} for name, of in self.classes.items()},
            "level": self.level,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class DetectedComparison:
    """What `compare` found on n pictures.

    scores: name of a detector → ap, ap50, ap75 with their intervals
    left_out: pictures that one detector or another was trained or chosen on
    """

    scores: Mapping[str, Mapping[str, Score]]
    pairs: tuple[DetectedPair, ...]
    n: int
    left_out: int
    notes: tuple[str, ...] = ()

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return {"measure", "scores", "pairs", "n", "left_out", "notes"} as plain JSON values."""
        return {
            "measure": "ap",
            "scores": {name: {key: score.json() for key, score in of.items()} for name, of in self.scores.items()},
            "pairs": [pair.json() for pair in self.pairs],
            "n": self.n,
            "left_out": self.left_out,
            "notes": list(self.notes),
        }

    def rows(self) -> list[dict[str, object]]:
        """Return a row of the table for each pair."""
        titles = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
        return [
            {
                "first": pair.first,
                "second": pair.second,
                **{f"{title}, second - first": pair.differences[name].short() for name, title in titles.items()},
            }
            for pair in self.pairs
        ]

    def __str__(self) -> str:
        lines = [f"AP of {name} {of['ap']}; AP50 {of['ap50'].short()}" for name, of in self.scores.items()]
        for pair in self.pairs:
            gaps = [f"{name} {of['ap'].short()}" for name, of in pair.classes.items() if of["ap"].value == of["ap"].value]
            lines += [pair.verdict, f"  by class, AP of {pair.second} less {pair.first}: {'; '.join(gaps[:20])}"]
        return "\n".join([*lines, *self.notes])


def compare(
    detectors: Sequence[Detector | str | Path],
    source: str | Path | Pictures,
    *,
    part: str = "test",
    allow_download: bool = False,
    seed: int = 0,
) -> DetectedComparison:
    """Compare two or more detectors on the same pictures of `source`, each pair by a paired bootstrap over the pictures.

    detectors: Detectors, or paths of some, which know the same classes; part: as of `beholder.evaluation.compare.compare`
    Several pairs: the intervals are widened (Bonferroni), so that all hold at once. Each reading of the test part is counted.
    Raises `UsageError` for fewer than two detectors, an unknown part, or other classes; `DataError` where no picture is left.
    """
    part = part_named(part)
    if not isinstance(detectors, (str, Path, Finder)):
        _refuse_exports(detectors)
    names = names_of(detectors)
    loaded = [one if isinstance(one, Kept) else Detector.load(one) for one in detectors]
    _same_classes(loaded, names)
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    rows, left_out = common_rows(loaded, pictures, part)
    tested = _aligned([evaluate(one, pictures.take(rows), seed=seed) for one in loaded])
    classes, groups = loaded[0].classes, tested[0].groups
    matches = [_matches(one, classes) for one in tested]
    who = list(combinations(range(len(loaded)), 2))
    level = 1 - ALPHA / len(who)
    found = [differences(matches[i], matches[j], groups=groups, seed=seed, level=level) for i, j in who]
    pairs = tuple(_pair(names[i], names[j], gaps, classes, level) for (i, j), gaps in zip(who, found, strict=True))
    each = [intervals(of, groups=groups, seed=seed).headline for of in matches]
    return DetectedComparison(
        dict(zip(names, each, strict=True)), pairs, matches[0].n, left_out, _notes(left_out, groups, len(who))
    )


def _refuse_exports(detectors: Sequence[object]) -> None:
    """Raise `UsageError` (no-split) where one is an export that was loaded."""
    if any(isinstance(one, Finder) and not isinstance(one, Kept) for one in detectors):
        hint = "compare the detectors that were exported"
        raise UsageError("an export does not know what was trained on", code="no-split", hint=hint)


def _pair(first: str, second: str, gaps: Precisions, classes: Sequence[str], level: float) -> DetectedPair:
    return DetectedPair(first, second, gaps.headline, dict(zip(classes, gaps.classes, strict=True)), level)


def _same_classes(detectors: Sequence[Detector], names: Sequence[str]) -> None:
    first = detectors[0]
    for name, other in zip(names[1:], detectors[1:], strict=True):
        if set(other.classes) != set(first.classes):
            ours, theirs = set(first.classes) - set(other.classes), set(other.classes) - set(first.classes)
            which = [f"only {n} knows {', '.join(sorted(some)[:5])}" for n, some in ((names[0], ours), (name, theirs)) if some]
            hint = "train both on sources with the same class names, or evaluate each on its own"
            raise UsageError(f"{names[0]} and {name} know other classes: {'; '.join(which)}", code="other-classes", hint=hint)


def _aligned(tested: Sequence[DetectionEvaluation]) -> list[DetectionEvaluation]:
    """Return the evaluations on the pictures that all detectors could read, in one order."""
    common = set.intersection(*(set(one.keys) for one in tested))
    if not common:
        hint = "beholder evaluate says for each detector what is wrong with the pictures"
        raise DataError("there is no picture that all detectors can read", code="no-common-pictures", hint=hint)
    found = []
    for one in tested:
        rows = np.array([row for row, key in enumerate(one.keys) if key in common], np.int64)
        groups = None if one.groups is None else one.groups[rows]
        columns = {"truth": one.truth.take(rows), "found": one.found.take(rows), "pictures": one.pictures.take(rows)}
        found.append(replace(one, **columns, groups=groups))  # type: ignore[arg-type]
    return found


def _matches(one: DetectionEvaluation, classes: Sequence[str]) -> Matches:
    """Return which boxes are right, with the classes in a common order."""
    places: I64 = np.array([position(name, classes) for name in one.classes], np.int64)
    truth = replace(one.truth, classes=places[one.truth.classes])
    found = replace(one.found, classes=places[one.found.classes])
    return matched(truth, found, len(classes), sizes=("all",))


def _notes(left_out: int, groups: I64 | None, pairs: int) -> tuple[str, ...]:
    """Return what a reader has to know of the pictures and the intervals."""
    notes = [f"{left_out} {LEFT_OUT}"] if left_out else []
    if groups is not None:
        notes.append(f"Intervals rest on {len(np.unique(groups))} groups of pictures, not on single pictures.")
    if pairs > 1:
        notes.append("The intervals of the differences hold for all pairs at once (Bonferroni).")
    return tuple(notes)
