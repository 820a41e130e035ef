"""What the best of several is worth: its validation score without the luck of having been chosen by that very score.

Bootstrap bias-corrected cross-validation. In each resample the best candidate is chosen on the pictures drawn, and scored on
those that were not; the mean of that over all resamples is what choosing in this way is worth. Source: I. Tsamardinos,
E. Greasidou, G. Borboudakis, Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation, Machine
Learning 107 (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.measure.intervals import wilson

Array = npt.NDArray[np.floating]
Objective = Callable[[Any, Any], float]

DRAWS = 100
"""Resamples: the optimism, some tenths of a point, is then known to some hundredths."""

WIDE = 1.96


@dataclass(frozen=True)
class Expected:
    """What a test should find of a model that was chosen as the best of several on validation.

    score: of the chosen one on validation; value: without the optimism of choosing; n: validation pictures
    low, high: where a test of `tested` pictures of the same kind lies with 95 %; candidates: that it was the best of
    """

    score: float
    value: float
    low: float
    high: float
    n: int
    tested: int
    candidates: int


@dataclass(frozen=True)
class Luck:
    """By how much the score of a candidate is too good, since it was chosen by it; among: how many it was chosen from."""

    amount: float
    among: int


NONE = Luck(0.0, 1)


def luck_of(search: Mapping[str, Any] | None) -> Luck | None:
    """Return the luck that the account of a search has under "luck"; None without a search."""
    return None if search is None else Luck(**search["luck"]) if "luck" in search else NONE


def expected(
    outputs: Sequence[Array],
    targets: Array,
    objective: Objective,
    *,
    tested: int,
    proportion: bool = False,
    most: float = 1.0,
    luck: Luck = NONE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Expected:
    """Return what a test of so many pictures should find of the best of several candidates.

    outputs: logits (N, W) of each candidate, of the chosen one first; targets: (N, K)
    objective: (logits, targets) → score, the higher the better
    proportion: it is a share of the pictures, whose interval is Wilson's; else it is normal, from resamples; most: its maximum
    luck: that the candidates have in common, from an earlier choice on the same pictures
    """
    n, generator = len(targets), np.random.default_rng(seed)
    outside, again = [], []
    for _ in range(draws):
        drawn = generator.integers(0, n, n)
        left = np.setdiff1d(np.arange(n), drawn)
        inside = np.array([objective(each[drawn], targets[drawn]) for each in outputs])
        again.append(inside[0])
        if len(left):
            outside.append(objective(outputs[int(inside.argmax())][left], targets[left]))
    score = float(objective(outputs[0], targets))
    value = min(score, _mean(outside)) if len(outputs) > 1 and outside else score
    value -= luck.amount
    low, high = _span(value, n, tested, float(np.nanstd(again)), proportion=proportion, most=most)
    return Expected(score, value, low, high, n, tested, len(outputs) + luck.among - 1)


def better(first: Array, second: Array, targets: Array, objective: Objective, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the share of resamples in which the second of two candidates is better than the first; ties count as half.

    first, second: logits (N, W); targets: (N, K)
    """
    n, generator = len(targets), np.random.default_rng(seed)
    won = 0.0
    for _ in range(draws):
        drawn = generator.integers(0, n, n)
        change = objective(second[drawn], targets[drawn]) - objective(first[drawn], targets[drawn])
        won += 1.0 if change > 0 else 0.0 if change < 0 else 0.5
    return won / draws


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else 0.0


def _span(value: float, n: int, tested: int, spread: float, *, proportion: bool, most: float) -> tuple[float, float]:
    """Return between what a test of `tested` pictures lies: both samples vary, as a single one of n·m / (n + m) would."""
    few = n * tested / max(1, n + tested)
    if proportion:
        found = wilson(value * few, few)
        return found.low, found.high
    wide = WIDE * spread * np.sqrt(n / max(1.0, few))
    return value - float(wide), min(most, value + float(wide))
