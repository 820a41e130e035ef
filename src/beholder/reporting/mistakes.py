"""The report's section on the most confident errors: pictures, predictions and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F32, F64, I64, Values
from beholder.base.errors import BeholderError
from beholder.evaluation.words import Words
from beholder.explanation import maps
from beholder.reporting import charts
from beholder.reporting.context import Room

MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """One wrongly recognised picture, by its row in the test: its key and what happened.

    guess: what was said, `p` its probability; answer: the class whose score the heat map explains.
    image, heat: data URIs, None where there is none
    """

    row: int
    key: str
    truth: str
    guess: str
    p: float
    answer: int
    image: str | None = None
    heat: str | None = None


def mistakes(room: Room) -> dict[str, Any]:
    """Return {"mistakes", "heated", "n"}: the most confidently wrong first, with pictures."""
    evaluation = room.evaluation
    p, targets = np.asarray(evaluation.probabilities, np.float64), np.asarray(evaluation.targets)
    names = list(room.scores.classes)
    if targets.ndim == 2:
        found = _multi(evaluation.keys, p, targets, room.bundle.answers(p), names, room.words)
    else:
        found = _single(evaluation.keys, p, targets, room.bundle.answers(p), names)
    heat = _heat(room, found)
    shown = [replace(m, image=room.picture(m.row), heat=heat.get(m.row)) for m in found]
    return {"mistakes": shown, "heated": any(mistake.heat for mistake in shown), "n": room.scores.n}


AT_ONCE = 4
"""Heat maps made at a time where there may not be time for all."""


def _heat(room: Room, found: Sequence[Mistake]) -> dict[int, str]:
    """Return row → what spoke for the answer as a data URI; none where the pixels were not kept or the net allows no map."""
    pixels = room.evaluation.pixels
    if pixels is None or not found:
        return {}
    rows = np.array([mistake.row for mistake in found])
    answers = np.array([mistake.answer for mistake in found], np.int64)
    step = len(rows) if room.until.none else AT_ONCE
    made: dict[int, str] = {}
    for some in (slice(at, at + step) for at in range(0, len(rows), step)):
        if room.until.passed:
            break
        try:
            heat = maps(room.bundle, pixels.take(rows[some]), classes=answers[some])
        except (BeholderError, RuntimeError, NotImplementedError) as error:
            events.warn(f"no heat maps of the mistakes: {error}")
            break
        made |= _overlays(room, rows[some], heat)
    return made


def _overlays(room: Room, rows: I64, heat: F32) -> dict[int, str]:
    shown = [one[room.inside(room.evaluation.thumbnail(row))] for row, one in zip(rows.tolist(), heat, strict=True)]
    return {row: charts.overlay(one) for row, one in zip(rows.tolist(), shown, strict=True) if one.any()}


def _single(keys: Sequence[str], p: F64, targets: Values, guesses: Values, names: Sequence[str]) -> list[Mistake]:
    wrong = np.flatnonzero(guesses != targets)
    worst = wrong[np.lexsort((p[wrong, targets[wrong]], -p[wrong, guesses[wrong]]))][:MISTAKES]  # the surest first
    return [
        Mistake(i, keys[i], names[targets[i]], names[guesses[i]], float(p[i, guesses[i]]), int(guesses[i]))
        for i in worst.tolist()
    ]


def _multi(keys: Sequence[str], p: F64, targets: Values, answers: Values, names: Sequence[str], words: Words) -> list[Mistake]:
    """Return the pictures with the most confidently wrong decision; `p` is then the probability of that class."""
    truth = targets != 0
    wrong = answers != truth
    badness = np.where(wrong, np.abs(p - truth), -1.0)
    order = np.argsort(-badness.max(axis=1, initial=-1.0), kind="stable")
    found = []
    for i in [i for i in order[:MISTAKES].tolist() if wrong[i].any()]:
        k = int(badness[i].argmax())
        has = "; ".join(label for label, yes in zip(names, truth[i], strict=True) if yes) or words("mistakes.no_class")
        saw = words("mistakes.missed" if truth[i, k] else "mistakes.seen", label=names[k])
        found.append(Mistake(i, keys[i], has, saw, float(p[i, k]), k))
    return found
