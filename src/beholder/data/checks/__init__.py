"""The checks of the audit: pure functions from evidence to scores, each with a limit and a hint, all in one table.

A check is written in six lines: a function that takes `Evidence` and returns `Marks`, a `Check` beside it, a row in `CHECKS`
(or an entry point of the group `beholder.checks`), a planted fault in its test, a line in docs/DATA_QUALITY.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from beholder.base.records import Pictures
from beholder.base.registry import Registry
from beholder.data.twins import Twins

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks may look at; what was not computed is None, and checks that need it are left out.

    pictures:      N pictures, with digests
    facts:         (N,) of dtype `beholder.data.facts.FACTS`
    features:      float32 (N, F), rows of NaN where a picture could not be read
    probabilities: float32 (N, K), out of fold; rows of NaN where a picture could not be read
    twins:         who is whose twin
    """

    pictures: Pictures
    facts: npt.NDArray[np.void]
    features: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    twins: Twins | None = None

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Return bool (N,): which pictures could be decoded."""
        return np.asarray(self.facts["error"] == b"")


@dataclass(frozen=True, eq=False)
class Marks:
    """The answer of a check of pictures.

    scores:  float64 (N,) in [0, 1], 1 = surely at fault, NaN = cannot be said
    other:   int64 (N,), the row of the picture that each is a twin of; -1 = none
    relabel: int64 (N,), the class that each should rather have; -1 = none
    words:   row → sentence, where the check has more to say than its own sentence
    suggest: row → keep | drop | relabel, where it is not what the check suggests elsewhere
    """

    scores: F64
    other: I64 | None = None
    relabel: I64 | None = None
    words: dict[int, str] = field(default_factory=dict)
    suggest: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Remark:
    """The answer of a check of the whole set: a score in [0, 1] and a sentence."""

    score: float
    verdict: str


@dataclass(frozen=True)
class Check:
    """One check.

    ask:        Evidence → Marks, or for a check of the whole set → list of Remark
    limit:      least score that makes a finding
    sentence:   what a finding means, for a person
    hint:       what to do about it
    group:      files | exposure | shape | colour | twins | labels | set
    suggestion: keep | drop | relabel, for what is found
    needs:      names of the optional fields of `Evidence` that `ask` looks at
    """

    ask: Callable[[Evidence], Marks | list[Remark]]
    limit: float
    sentence: str
    hint: str
    group: str
    suggestion: str = "keep"
    needs: tuple[str, ...] = ()


CHECKS = Registry(
    "check",
    {
        "unreadable": "beholder.data.checks.files:UNREADABLE",
        "extension": "beholder.data.checks.files:EXTENSION",
        "dark": "beholder.data.checks.exposure:DARK",
        "bright": "beholder.data.checks.exposure:BRIGHT",
        "contrast": "beholder.data.checks.exposure:CONTRAST",
        "blurred": "beholder.data.checks.exposure:BLURRED",
        "uniform": "beholder.data.checks.exposure:UNIFORM",
        "size": "beholder.data.checks.shape:SIZE",
        "aspect": "beholder.data.checks.shape:ASPECT",
        "upscaled": "beholder.data.checks.shape:UPSCALED",
        "grey": "beholder.data.checks.colour:GREY",
        "mode": "beholder.data.checks.colour:MODE",
        "duplicate": "beholder.data.checks.twins:DUPLICATE",
        "near": "beholder.data.checks.twins:NEAR",
        "conflict": "beholder.data.checks.twins:CONFLICT",
        "leak": "beholder.data.checks.twins:LEAK",
        "label": "beholder.data.checks.labels:LABEL",
        "outlier": "beholder.data.checks.outliers:OUTLIER",
        "imbalance": "beholder.data.checks.sets:IMBALANCE",
        "few": "beholder.data.checks.sets:FEW",
        "shortcut": "beholder.data.checks.shortcuts:SHORTCUT",
    },
)
"""Every check, in the order in which they are shown."""
