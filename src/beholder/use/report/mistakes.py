"""The report's part on the worst mistakes: the pictures, what was said of them, and where the net looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import BeholderError
from beholder.use import plots
from beholder.use.explain import maps
from beholder.use.report.room import Room
from beholder.use.words import Words

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
        found = _multi(evaluation.keys, p, targets, names, room.config, room.words)
    else:
        found = _single(evaluation.keys, p, targets, names)
    heat = _heat(room, found)
    shown = [replace(m, image=room.picture(m.row), heat=heat.get(m.row)) for m in found]
    return {"mistakes": shown, "heated": any(mistake.heat for mistake in shown), "n": room.scores.n}


def _heat(room: Room, found: Sequence[Mistake]) -> dict[int, str]:
    """Return row → what spoke for the answer as a data URI; none where the pixels were not kept or the net allows no map."""
    pixels = room.evaluation.pixels
    if pixels is None or not found:
        return {}
    rows = np.array([mistake.row for mistake in found])
    answers = np.array([mistake.answer for mistake in found], np.int64)
    try:
        heat = maps(room.bundle, pixels.take(rows), classes=answers)
    except (BeholderError, RuntimeError, NotImplementedError) as error:
        events.warn(f"no heat maps of the mistakes: {error}")
        return {}
    return {row: plots.overlay(one) for row, one in zip(rows.tolist(), heat, strict=True) if one.any()}


def _single(keys: Sequence[str], p: npt.NDArray[np.float64], targets: npt.NDArray[Any], names: Sequence[str]) -> list[Mistake]:
    guesses = p.argmax(axis=1) if len(p) else np.zeros(0, np.int64)
    wrong = np.flatnonzero(guesses != targets)
    worst = wrong[np.argsort(p[wrong, targets[wrong]], kind="stable")][:MISTAKES]
    return [
        Mistake(i, keys[i], names[targets[i]], names[guesses[i]], float(p[i, guesses[i]]), int(guesses[i]))
        for i in worst.tolist()
    ]


def _multi(
    keys: Sequence[str],
    p: npt.NDArray[np.float64],
    targets: npt.NDArray[Any],
    names: Sequence[str],
    config: Mapping[str, Any],
    words: Words,
) -> list[Mistake]:
    """Return the pictures with the most confidently wrong decision; `p` is then the probability of that class."""
    truth = targets != 0
    wrong = (p >= np.asarray(config.get("thresholds", 0.5), np.float64)) != truth
    badness = np.where(wrong, np.abs(p - truth), -1.0)
    order = np.argsort(-badness.max(axis=1, initial=-1.0), kind="stable")
    found = []
    for i in [i for i in order[:MISTAKES].tolist() if wrong[i].any()]:
        k = int(badness[i].argmax())
        has = "; ".join(label for label, yes in zip(names, truth[i], strict=True) if yes) or words("mistakes.no_class")
        saw = words("mistakes.missed" if truth[i, k] else "mistakes.seen", label=names[k])
        found.append(Mistake(i, keys[i], has, saw, float(p[i, k]), k))
    return found
