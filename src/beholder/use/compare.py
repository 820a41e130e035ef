"""The verb `compare`: which of several bundles is better on the same pictures, how sure that is, and what would settle it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, UsageError, did_you_mean
from beholder.base.records import PARTS, Pictures, Score
from beholder.bundle.bundle import Bundle, load
from beholder.data.digest import digested
from beholder.data.sources import scan
from beholder.data.split import unit_of
from beholder.measure.comparison import ALPHA, POWER, Paired, apart, holm, paired
from beholder.measure.counts import effective, mean_of_defined, of_labels, weighted
from beholder.measure.curves import average_precision
from beholder.measure.intervals import interval, proportion, resamples
from beholder.use.evaluate import Evaluation, evaluate

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

REPEATS = 1000
"""Resamples of the paired bootstrap."""


@dataclass(frozen=True)
class Pair:
    """Two bundles beside each other.

    first, second: their names; found: by which pictures they have right; p: corrected for the number of pairs (Holm)
    others: name of a score → the second's less the first's, with the interval of a paired bootstrap
    """

    first: str
    second: str
    found: Paired
    p: float
    others: dict[str, Score]

    @property
    def verdict(self) -> str:
        """Return what follows, in a sentence."""
        gap = self.found.difference
        better, worse = (self.second, self.first) if gap.value > 0 else (self.first, self.second)
        size = f"{abs(gap.value):.3f}"
        if self.p <= ALPHA:
            return f"{better} is better than {worse} by {size} (p = {self.p:.3g})."
        if self.found.needed is None:
            return f"{self.first} and {self.second} are not told apart: {size} apart (p = {self.p:.3g})."
        return (
            f"Not settled: {better} leads {worse} by {size} (p = {self.p:.3g}); if that is the true difference, about "
            f"{self.found.needed:,} pictures would show it ({POWER:.0%} of the time)."
        )

    def json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.found.difference.json(),
            "first_only": self.found.first_only,
            "second_only": self.found.second_only,
            "p": self.found.p,
            "p_corrected": self.p,
            "design_effect": self.found.effect,
            "pictures_needed": self.found.needed,
            "other_differences": {name: score.json() for name, score in self.others.items()},
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """What `compare` found on n pictures.

    scores: name of a bundle → share of the pictures that it has right, with its interval; measure: what "right" means
    left_out: pictures that one bundle or another was trained or chosen on
    """

    measure: str
    scores: dict[str, Score]
    pairs: tuple[Pair, ...]
    n: int
    left_out: int
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return {"measure", "scores", "pairs", "n", "left_out", "notes"} as plain JSON values."""
        return {
            "measure": self.measure,
            "scores": {name: score.json() for name, score in self.scores.items()},
            "pairs": [pair.json() for pair in self.pairs],
            "n": self.n,
            "left_out": self.left_out,
            "notes": list(self.notes),
        }

    def rows(self) -> list[dict[str, object]]:
        """Return a row of the table for each pair."""
        return [
            {
                "first": pair.first,
                "second": pair.second,
                "second - first": str(pair.found.difference).rpartition(" (")[0],
                "only first right": pair.found.first_only,
                "only second right": pair.found.second_only,
                "p": pair.p,
                "pictures needed": pair.found.needed,
            }
            for pair in self.pairs
        ]

    def __str__(self) -> str:
        lines = [f"{self.measure} of {name} {score}" for name, score in self.scores.items()]
        return "\n".join([*lines, *(pair.verdict for pair in self.pairs), *self.notes])


def compare(
    bundles: Sequence[Bundle | str | Path],
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    part: str = "test",
    allow_download: bool = False,
    trust: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare two or more bundles on the same pictures of `source`, each pair by McNemar's test and a paired bootstrap.

    bundles: Bundles, or paths of some, which know the same classes
    part:    test | valid | train | all: a picture counts where every bundle has it there. Pictures that one of them was trained
             or chosen on are left out, but for part="train" or "valid"; it is said how many.
    Several pairs: p is corrected (Holm) and the intervals are widened (Bonferroni), so that all hold at once.
    Each reading of the test part is counted in the bundles. Raises `UsageError` for fewer than two bundles, an unknown part, or
    other classes; `DataError` where no picture is left.
    """
    if part not in (*PARTS, "all"):
        raise UsageError(f"there is no part '{part}'", code="unknown-part", hint=did_you_mean(part, (*PARTS, "all")))
    names = _names(bundles)
    loaded = [bundle if isinstance(bundle, Bundle) else load(bundle, trust=trust) for bundle in bundles]
    _same_classes(loaded, names)
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    rows, left_out = _common(loaded, pictures, part)
    notes = []
    if left_out:
        notes.append(f"{left_out} pictures are left out: one of the bundles was trained or chosen on them, another was not.")
        events.warn(notes[0], code="leak", n=left_out)
    tested, alike = _aligned([evaluate(bundle, pictures.take(rows)) for bundle in loaded], strict=part in ("test", "all"))
    if alike:
        notes.append(f"{alike} more are left out: they look the same as what a bundle was trained or chosen on.")
    clusters = _clusters(tested[0])
    if clusters is not None:
        notes.append(f"Intervals and p rest on {clusters.max() + 1} groups of pictures, not on single pictures.")
    right = [_right(bundle, evaluation) for bundle, evaluation in zip(loaded, tested, strict=True)]
    several = len(loaded) * (len(loaded) - 1) // 2
    level = 1 - ALPHA / several
    who = list(combinations(range(len(loaded)), 2))
    found = [paired(right[i], right[j], clusters=clusters, level=level) for i, j in who]
    others = [_others(loaded, tested, pair, clusters, seed, level) for pair in who]
    corrected = holm([one.p for one in found])
    pairs = tuple(
        Pair(names[i], names[j], one, p, more) for (i, j), one, p, more in zip(who, found, corrected, others, strict=True)
    )
    if several > 1:
        notes.append(f"p is corrected for {several} pairs (Holm), and the intervals of the differences hold for all at once.")
    scores = {name: proportion(row, clusters) for name, row in zip(names, right, strict=True)}
    measure = "share with every label right" if loaded[0].multi else "accuracy"
    return Comparison(measure, scores, pairs, len(right[0]), left_out, tuple(notes))


def _names(bundles: Sequence[Bundle | str | Path]) -> list[str]:
    """Return what to call each: the folder's name, with a number where two are the same."""
    if isinstance(bundles, (str, Path, Bundle)) or len(bundles) < 2:
        raise UsageError("there is nothing to compare with", code="too-few-bundles", hint="name two bundles or more")
    paths = [bundle.path if isinstance(bundle, Bundle) else Path(bundle) for bundle in bundles]
    plain = [path.name.removesuffix(".beholder") if path is not None else "bundle" for path in paths]
    return [name if plain.count(name) == 1 else f"{name} {at + 1}" for at, name in enumerate(plain)]


def _same_classes(bundles: Sequence[Bundle], names: Sequence[str]) -> None:
    first = bundles[0]
    for name, other in zip(names[1:], bundles[1:], strict=True):
        if other.multi != first.multi:
            kinds = [
                f"{n} gives {'several labels' if b.multi else 'one label'} a picture"
                for n, b in ((names[0], first), (name, other))
            ]
            raise UsageError(" and ".join(kinds), code="other-task", hint="compare bundles of one kind of source")
        if set(other.classes) != set(first.classes):
            ours, theirs = set(first.classes) - set(other.classes), set(other.classes) - set(first.classes)
            which = [f"only {n} knows {', '.join(sorted(some)[:5])}" for n, some in ((names[0], ours), (name, theirs)) if some]
            raise UsageError(
                f"{names[0]} and {name} know other classes: {'; '.join(which)}",
                code="other-classes",
                hint="train both on sources with the same class names, or evaluate each on its own",
            )


def _common(bundles: Sequence[Bundle], pictures: Pictures, part: str) -> tuple[Ints, int]:
    """Return the rows to compare on, and how many of the part are left out since one bundle learnt from them."""
    assert pictures.digests is not None
    hexes = [row.tobytes().hex() for row in pictures.digests]
    own = [PARTS[p] if p >= 0 else "test" for p in pictures.parts.tolist()]
    parts = np.array([[known or mine for known, mine in zip(bundle.part_of(hexes), own, strict=True)] for bundle in bundles])
    used = np.array([bundle.used(hexes) for bundle in bundles]).reshape(len(bundles), -1)
    some, every = (parts == part).any(axis=0), (parts == part).all(axis=0)
    if part == "all":
        keep, left = ~used.any(axis=0), used.any(axis=0)
    elif part == "test":
        keep = every & ~used.any(axis=0)
        left = some & ~keep
    else:
        keep, left = every, some & ~every
    rows = np.flatnonzero(keep)
    if not len(rows):
        what = "all that are there were trained on by one bundle or another" if left.any() else f"none is in the {part} part"
        raise DataError(
            f"no picture of {pictures.store.name} is left to compare on: {what}",
            code="no-common-pictures",
            hint="give pictures that none of the bundles has seen, with --part all; or train them on one split: the same seed",
        )
    return rows, int(left.sum())


def _aligned(tested: Sequence[Evaluation], *, strict: bool) -> tuple[list[Evaluation], int]:
    """Return the evaluations on the pictures that all bundles could read, in one order, and how many are left out as too alike.

    strict: leave out those that look the same as what a bundle was trained on
    """
    common = set.intersection(*(set(one.keys) for one in tested))
    near = {one.keys[row] for one in tested for row in np.flatnonzero(one.alike).tolist()} & common if strict else set()
    if not common - near:
        raise DataError(
            "no picture that all bundles can read is new to all of them",
            code="no-common-pictures",
            hint="beholder evaluate says for each bundle what is wrong with the pictures",
        )
    found = []
    for one in tested:
        rows = np.array([row for row, key in enumerate(one.keys) if key in common - near])
        found.append(
            replace(
                one,
                keys=[one.keys[row] for row in rows.tolist()],
                probabilities=one.probabilities[rows],
                targets=one.targets[rows],
                pictures=one.pictures.take(rows) if one.pictures is not None else None,
                alike=one.alike[rows] if len(one.alike) else one.alike,
                pixels=None,
            )
        )
    return found, len(near)


def _clusters(evaluation: Evaluation) -> Ints | None:
    """Return the unit of each picture: groups and exact twins; None where each stands alone."""
    assert evaluation.pictures is not None
    units = unit_of(evaluation.pictures)
    return units if len(np.unique(units)) < len(units) else None


def _guesses(bundle: Bundle, evaluation: Evaluation) -> npt.NDArray[Any]:
    if bundle.multi:
        return np.asarray(evaluation.probabilities >= np.asarray(bundle.config["thresholds"], np.float32))
    return np.asarray(evaluation.probabilities.argmax(axis=1))


def _right(bundle: Bundle, evaluation: Evaluation) -> npt.NDArray[np.bool_]:
    guesses = _guesses(bundle, evaluation)
    same = guesses == evaluation.targets
    return np.asarray(same.all(axis=1) if bundle.multi else same)


def _orders(bundles: Sequence[Bundle]) -> list[Ints]:
    """Return where each bundle has the classes of the first, int64 (K,)."""
    return [np.array([bundle.classes.index(name) for name in bundles[0].classes], np.int64) for bundle in bundles]


def _others(
    bundles: Sequence[Bundle],
    tested: Sequence[Evaluation],
    pair: tuple[int, int],
    clusters: Ints | None,
    seed: int,
    level: float,
) -> dict[str, Score]:
    """Return the differences of means over the classes, each with an interval by the paired bootstrap (`apart`)."""
    n = len(tested[0].keys)
    orders = _orders(bundles)
    statistics = [_statistics(bundles[at], tested[at], orders[at]) for at in pair]
    strata = None if bundles[0].multi else tested[0].targets
    weights = list(resamples(n, strata=strata, clusters=clusters, seed=seed, repeats=REPEATS))
    ones = [np.ones(n, np.int64)]
    support = effective(_support(tested[0], len(bundles[0].classes), clusters))
    found = {}
    for name in statistics[0]:
        draws = [of[name](weights) for of in statistics]
        one, other = (
            interval(float(of[name](ones)[0]), drawn, n, units=support, level=level)
            for of, drawn in zip(statistics, draws, strict=True)
        )
        found[name] = apart(one, other, _correlation(*draws))
    return found


def _support(evaluation: Evaluation, k: int, clusters: Ints | None) -> Floats:
    """Return how many independent pictures show each class, float64 (K,)."""
    hot = evaluation.targets if evaluation.targets.ndim == 2 else np.eye(k, dtype=np.uint8)[evaluation.targets]
    if clusters is None:
        return np.asarray(hot.sum(axis=0), np.float64)
    return np.array([len(np.unique(clusters[hot[:, c] > 0])) for c in range(k)], np.float64)


def _correlation(first: Floats, second: Floats) -> float:
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any() or not first[known].std() or not second[known].std():
        return 0.0
    return float(np.corrcoef(first[known], second[known])[0, 1])


def _statistics(bundle: Bundle, evaluation: Evaluation, order: Ints) -> dict[str, Callable[[list[Ints]], Floats]]:
    """Return name → a function from resamples (each int64 (N,)) to values float64 (R,)."""
    k = len(bundle.classes)
    guesses = _guesses(bundle, evaluation)
    if bundle.multi:
        truth = evaluation.targets[:, order].astype(bool)
        p = evaluation.probabilities[:, order]

        def precisions(drawn: list[Ints]) -> Floats:
            rows = np.asarray(drawn)
            return mean_of_defined(np.stack([average_precision(p[:, c], truth[:, c], rows) for c in range(k)], axis=-1))

        def decisions(drawn: list[Ints]) -> Floats:
            return mean_of_defined(of_labels(guesses[:, order], truth, np.asarray(drawn, np.float64)).f1())

        return {"map": precisions, "macro_f1": decisions}
    targets = evaluation.targets.astype(np.int64)

    def macro(drawn: list[Ints]) -> Floats:
        return mean_of_defined(weighted(targets, guesses, k, drawn).f1())

    return {"macro_f1": macro}
