"""The section `reuse`: readings of the test part, the interval corrected for them, and the score without known pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.base.records import Score
from beholder.evaluation.evaluate import scored
from beholder.measure.intervals import at_level

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.evaluation.evaluate import Evaluation

ALPHA = 0.05

RULE = (
    "After T readings the interval is that of level 1 - 0.05 / T (Bonferroni): it holds for the best of T models "
    "that were chosen without looking at the scores in between. Where each was made after a look at the last score, only the "
    "adaptive interval is guaranteed, which counts every answer that could have been read: it has no distribution to rest on "
    "and is wide."
)


def reuse(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return how often the test part was read, and how the headline score stands after it.

    readings:  how often this bundle's test part was read, this time included, 0 where these pictures are not of it;
               dates: when, ISO 8601, the last 20
    name:      the score that the rest is about: the first that is a share
    once, corrected, adaptive: it with the interval of a first reading, of level 1 - 0.05 / readings, and of Hoeffding's bound
               over all (n + 1)^(readings - 1) answers that earlier readings can have given (Dwork et al., Science 349, 2015)
    level:     of the corrected interval; rule: in words
    same, alike: pictures tested here that were trained or chosen on, and others that look the same as one of those
    with, without, only: the score of all pictures here, without those two kinds, of these alone; absent where there are none
    remembers: whether the bundle holds the hashes that `alike` needs
    """
    name, score = next(iter(evaluation.scores.shares.items()))
    times = max(1, evaluation.readings)
    level = 1 - ALPHA / times
    read = bundle.readings if evaluation.readings else []
    return {
        "readings": evaluation.readings,
        "dates": [str(row.get("when", "")) for row in read[-20:] if isinstance(row, dict)],
        "name": name,
        "once": score.json(),
        "corrected": at_level(score, level).json(),
        "adaptive": adaptive(score, times).json(),
        "level": level,
        "rule": RULE,
        **_known(bundle, evaluation, name),
        "remembers": bool(len(bundle.hashes)),
    }


def adaptive(score: Score, times: int) -> Score:
    """Return a score with the interval that holds after any `times` - 1 earlier readings of the same n pictures.

    Hoeffding's inequality at the level 0.05 / (n + 1)^(times - 1): each earlier reading has shown one of n + 1 values.
    """
    if math.isnan(score.value) or not score.n:
        return score
    half = math.sqrt((math.log(2 / ALPHA) + (times - 1) * math.log(score.n + 1)) / (2 * score.n))
    low, high = max(0.0, score.value - half), min(1.0, score.value + half)
    return Score(score.value, min(low, score.low), max(high, score.high), score.n)


def _known(bundle: Bundle, evaluation: Evaluation, name: str) -> dict[str, Any]:
    used, alike = evaluation.used, evaluation.alike
    found: dict[str, Any] = {"same": int(used.sum()), "alike": int(alike.sum())}
    old = used | alike
    if evaluation.pictures is None or not old.any():
        return found
    found["with"] = evaluation.scores.headline[name].json()
    for word, rows in (("without", np.flatnonzero(~old)), ("only", np.flatnonzero(old))):
        if len(rows):
            some = scored(bundle, evaluation.probabilities[rows], evaluation.pictures.take(rows))
            found[word] = some.headline[name].json()
    return found
