"""The checks of the audit: pure functions from evidence to scores, each with a limit and a hint, all in one table.

A check is written in six lines: a function that takes `Evidence` and returns `Marks`, a `Check` beside it, a row in `CHECKS`
(or an entry point of the group `beholder.checks`), a planted fault in its test, a line in docs/DATA_QUALITY.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F32, F64, I64, Bools, Integer
from beholder.base.boxes import Boxes
from beholder.base.brief import shown
from beholder.base.records import Pictures
from beholder.base.registry import Registry
from beholder.duplicates.near import Twins
from beholder.measure.detections import Found


class Alike(NamedTuple):
    """Pairs of boxes in different given parts that show the same.

    first, second: int64 (P,), rows of boxes; scores: float64 (P,)
    """

    first: I64
    second: I64
    scores: F64


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks may look at; what was not computed is None, and checks that need it are left out.

    pictures:      N pictures, with digests
    facts:         (N,) of dtype `beholder.duplicates.facts.FACTS`
    features:      float32 (N, F), rows of NaN where a picture could not be read
    probabilities: float32 (N, K), out of fold; rows of NaN where a picture could not be read
    twins:         exact and near-duplicates
    found:         what detectors found that had not learnt from the picture, calibrated, in the pixels in which boxes are drawn
    crops:         boxes that show the same in several parts
    """

    pictures: Pictures
    facts: npt.NDArray[np.void]
    features: F32 | None = None
    probabilities: F32 | None = None
    twins: Twins | None = None
    found: Found | None = None
    crops: Alike | None = None

    __repr__ = shown

    @property
    def boxes(self) -> Boxes | None:
        """Return the boxes of the pictures, None where the source has none."""
        return self.pictures.boxes

    @property
    def labels(self) -> Integer | None:
        """Return the targets of the pictures, None where they have no labels."""
        return self.pictures.targets if self.pictures.labelled else None

    @property
    def readable(self) -> Bools:
        """Return bool (N,): which pictures could be decoded."""
        return np.asarray(self.facts["error"] == b"")


@dataclass(frozen=True, eq=False)
class Marks:
    """The answer of a check of pictures.

    scores:  float64 (N,) in [0, 1], 1 = surely at fault, NaN = cannot be said
    other:   int64 (N,), the row of the picture that each is a duplicate of; -1 = none
    relabel: int64 (N,), the class that each should rather have; -1 = none
    words:   row → sentence, where the check has more to say than its own sentence
    suggest: row → keep | drop | relabel | review, where it is not what the check suggests elsewhere
    order:   float64 (N,), by which the findings are ordered, the largest first, where it is not by the scores alone
    """

    scores: F64
    other: I64 | None = None
    relabel: I64 | None = None
    words: dict[int, str] = field(default_factory=dict)
    suggest: dict[int, str] = field(default_factory=dict)
    order: F64 | None = None

    __repr__ = shown


class BoxMark(NamedTuple):
    """One box that a check found: the row of its picture, its name, a score in [0, 1], a sentence, and what is suggested.

    other: the row of the picture that it is about too; -1 = none
    """

    picture: int
    box: str
    score: float
    words: str
    suggestion: str = "review"
    other: int = -1


@dataclass(frozen=True, eq=False)
class BoxMarks:
    """The answer of a check of boxes. marks: what it found, whatever the score; looked: how many boxes it could judge."""

    marks: tuple[BoxMark, ...]
    looked: int

    __repr__ = shown


@dataclass(frozen=True)
class Remark:
    """The answer of a check of the whole set: a score in [0, 1] and a sentence."""

    score: float
    verdict: str


@dataclass(frozen=True)
class Check:
    """One check.

    ask:        Evidence → Marks, for a check of boxes → BoxMarks, for one of the whole set → list of Remark
    limit:      least score that makes a finding
    sentence:   what a finding means, for a person
    hint:       what to do about it
    group:      files | exposure | shape | colour | duplicates | labels | boxes | set
    suggestion: keep | drop | relabel | review (a person has to look), for what is found
    needs:      names of the optional fields of `Evidence` that `ask` looks at, "labels" and "boxes" among them
    """

    ask: Callable[[Evidence], Marks | BoxMarks | list[Remark]]
    limit: float
    sentence: str
    hint: str
    group: str
    suggestion: str = "keep"
    needs: tuple[str, ...] = ()


CHECKS = Registry(
    "check",
    {
        "unreadable": "beholder.quality.checks.files:UNREADABLE",
        "extension": "beholder.quality.checks.files:EXTENSION",
        "dark": "beholder.quality.checks.exposure:DARK",
        "bright": "beholder.quality.checks.exposure:BRIGHT",
        "contrast": "beholder.quality.checks.exposure:CONTRAST",
        "blurred": "beholder.quality.checks.exposure:BLURRED",
        "uniform": "beholder.quality.checks.exposure:UNIFORM",
        "size": "beholder.quality.checks.shape:SIZE",
        "aspect": "beholder.quality.checks.shape:ASPECT",
        "low-detail": "beholder.quality.checks.shape:LOW_DETAIL",
        "grey": "beholder.quality.checks.colour:GREY",
        "colour-mode": "beholder.quality.checks.colour:COLOUR_MODE",
        "duplicate": "beholder.quality.checks.duplicates:DUPLICATE",
        "near-duplicate": "beholder.quality.checks.duplicates:NEAR_DUPLICATE",
        "conflict": "beholder.quality.checks.duplicates:CONFLICT",
        "leak": "beholder.quality.checks.duplicates:LEAK",
        "label": "beholder.quality.checks.labels:LABEL",
        "outlier": "beholder.quality.checks.outliers:OUTLIER",
        "box-twice": "beholder.quality.checks.boxes:BOX_TWICE",
        "box-size": "beholder.quality.checks.boxes:BOX_SIZE",
        "box-edge": "beholder.quality.checks.boxes:BOX_EDGE",
        "box-leak": "beholder.quality.checks.boxes:BOX_LEAK",
        "box-missing": "beholder.quality.checks.found:BOX_MISSING",
        "box-class": "beholder.quality.checks.found:BOX_CLASS",
        "box-place": "beholder.quality.checks.found:BOX_PLACE",
        "imbalance": "beholder.quality.checks.sets:IMBALANCE",
        "few": "beholder.quality.checks.sets:FEW",
        "shortcut": "beholder.quality.checks.shortcuts:SHORTCUT",
    },
)
"""Every check, in the order in which they are shown."""


def meaning(name: str) -> dict[str, str]:
    """Return {"meaning", "hint"} of a check; both empty where there is none of that name any more."""
    if name in CHECKS:
        with CHECKS.tolerant(name):
            check: Check = CHECKS.load(name, of=Check)
            return {"meaning": check.sentence, "hint": check.hint}
    return {"meaning": "", "hint": ""}
