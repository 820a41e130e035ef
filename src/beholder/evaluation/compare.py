"""The verb `compare`: which of several bundles is better on the same pictures, how certain that is, and the n to decide it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I64, Bools, Values
from beholder.base.brief import shown
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Pictures, Score
from beholder.bundle.bundle import Bundle, opened
from beholder.bundle.kept import Kept
from beholder.data.split import unit_of
from beholder.evaluation.chosen import part_named, parts_of
from beholder.evaluation.evaluate import Evaluation, evaluate
from beholder.measure.comparison import ALPHA, POWER, Paired, apart, holm, paired
from beholder.measure.intervals import at_level, proportion, resamples
from beholder.measure.selective import mistakes
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.tasks.task import Statistic

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

    __repr__ = shown

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

    __repr__ = shown

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
    part:    test | val | train | all: a picture counts where every bundle has it there. Pictures that one of them was trained
             or chosen on are left out, but for part="train" or "val"; it is said how many.
    Several pairs: p is corrected (Holm) and the intervals are widened (Bonferroni), so that all hold at once.
    Each reading of the test part is counted in the bundles. Raises `UsageError` for fewer than two bundles, an unknown part, or
    other classes; `DataError` where no picture is left.
    """
    part = part_named(part)
    names = names_of(bundles)
    loaded = [opened(bundle, trust=trust) for bundle in bundles]
    _same_classes(loaded, names)
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    rows, left_out = common_rows(loaded, pictures.with_labels(), part)
    tested, alike = _aligned([evaluate(bundle, pictures.take(rows)) for bundle in loaded], strict=part in ("test", "all"))
    clusters = _clusters(tested[0])
    right = [~mistakes(bundle.answers(one.probabilities), one.targets) for bundle, one in zip(loaded, tested, strict=True)]
    pairs = _pairs(loaded, tested, names, right, clusters, seed)
    scores = {name: proportion(row, clusters) for name, row in zip(names, right, strict=True)}
    measure = "share with every label right" if loaded[0].task.several else "accuracy"
    return Comparison(measure, scores, pairs, len(right[0]), left_out, _notes(left_out, alike, clusters, len(pairs)))


LEFT_OUT = "pictures are left out: one of the bundles was trained or chosen on them, another was not."


def _notes(left_out: int, alike: int, clusters: I64 | None, pairs: int) -> tuple[str, ...]:
    """Return what a reader has to know of the pictures, the intervals and p."""
    notes = [f"{left_out} {LEFT_OUT}"] if left_out else []
    if alike:
        notes.append(f"{alike} more are left out: they look the same as what a bundle was trained or chosen on.")
    if clusters is not None:
        notes.append(f"Intervals and p rest on {clusters.max() + 1} groups of pictures, not on single pictures.")
    if pairs > 1:
        notes.append(f"p is corrected for {pairs} pairs (Holm), and the intervals of the differences hold for all at once.")
    return tuple(notes)


def _pairs(
    bundles: Sequence[Bundle],
    tested: Sequence[Evaluation],
    names: Sequence[str],
    right: Sequence[Bools],
    clusters: I64 | None,
    seed: int,
) -> tuple[Pair, ...]:
    """Return each two of the bundles beside each other; right: which pictures each has right, bool (N,)."""
    who = list(combinations(range(len(bundles)), 2))
    level = 1 - ALPHA / len(who)
    found = [paired(right[i], right[j], clusters=clusters, level=level) for i, j in who]
    figures = [(_headline(b, one, clusters, level), _statistics(b, one)) for b, one in zip(bundles, tested, strict=True)]
    others = [_others([figures[at] for at in pair], tested[0].targets, clusters, seed) for pair in who]
    each = zip(who, found, holm([one.p for one in found]), others, strict=True)
    return tuple(Pair(names[i], names[j], one, p, more) for (i, j), one, p, more in each)


def names_of(bundles: Sequence[Kept | str | Path]) -> list[str]:
    """Return what to call each: the folder's name, with a number where two are the same."""
    if isinstance(bundles, (str, Path, Kept)) or len(bundles) < 2:
        raise UsageError("there is nothing to compare with", code="too-few-bundles", hint="name two bundles or more")
    given = [bundle.path if isinstance(bundle, Kept) else bundle for bundle in bundles]
    paths = [Path(one) if isinstance(one, (str, os.PathLike)) else None for one in given]
    plain = [path.name.removesuffix(".beholder") if path is not None else "bundle" for path in paths]
    return [name if plain.count(name) == 1 else f"{name} {at + 1}" for at, name in enumerate(plain)]


def _same_classes(bundles: Sequence[Bundle], names: Sequence[str]) -> None:
    first = bundles[0]
    for name, other in zip(names[1:], bundles[1:], strict=True):
        if other.task != first.task:
            what = f"{names[0]} does the task '{first.task.name}', {name} the task '{other.task.name}'"
            raise UsageError(what, code="other-task", hint="compare bundles of one task")
        if first.task.order is not None and other.classes != first.classes and set(other.classes) == set(first.classes):
            what = f"{names[0]} and {name} have their classes in another order"
            raise UsageError(what, code="other-classes", hint="train both with the same data.order")
        if set(other.classes) != set(first.classes):
            ours, theirs = set(first.classes) - set(other.classes), set(other.classes) - set(first.classes)
            which = [f"only {n} knows {', '.join(sorted(some)[:5])}" for n, some in ((names[0], ours), (name, theirs)) if some]
            hint = "train both on sources with the same class names, or evaluate each on its own"
            raise UsageError(f"{names[0]} and {name} know other classes: {'; '.join(which)}", code="other-classes", hint=hint)


def common_rows(bundles: Sequence[Kept], pictures: Pictures, part: str) -> tuple[I64, int]:
    """Return the rows to compare on, and how many of the part are left out since one bundle learnt from them; that is said."""
    parts = np.array([parts_of(bundle, pictures) for bundle in bundles])
    used = np.array([bundle.used(pictures.hexdigests) for bundle in bundles]).reshape(len(bundles), -1)
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
        text = f"no picture of {pictures.store.name} is left to compare on: {what}"
        hint = "give pictures that none of the bundles has seen, with --part all; or train them on one split: the same seed"
        raise DataError(text, code="no-common-pictures", hint=hint)
    if left.any():
        events.warn(f"{left.sum()} {LEFT_OUT}", code="leak", n=int(left.sum()))
    return rows, int(left.sum())


def _aligned(tested: Sequence[Evaluation], *, strict: bool) -> tuple[list[Evaluation], int]:
    """Return the evaluations on the pictures that all bundles could read, in one order, and how many are left out as too alike.

    strict: leave out those that look the same as what a bundle was trained on
    """
    common = set.intersection(*(set(one.keys) for one in tested))
    near = {one.keys[row] for one in tested for row in np.flatnonzero(one.alike).tolist()} & common if strict else set()
    if not common - near:
        hint = "beholder evaluate says for each bundle what is wrong with the pictures"
        raise DataError("no picture that all bundles can read is new to all of them", code="no-common-pictures", hint=hint)
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


def _clusters(evaluation: Evaluation) -> I64 | None:
    """Return the unit of each picture: groups and exact duplicates; None where each stands alone."""
    assert evaluation.pictures is not None
    units = unit_of(evaluation.pictures)
    return units if len(np.unique(units)) < len(units) else None


def _headline(bundle: Bundle, evaluation: Evaluation, clusters: I64 | None, level: float) -> dict[str, Score]:
    """Return the scores of one bundle as its own test gives them: with a width also where a class is never recognised."""
    p, thresholds = evaluation.probabilities, bundle.config.thresholds
    scores = bundle.task.score(p, evaluation.targets, bundle.classes, thresholds=thresholds, groups=clusters)
    ranges = {name: (of.least, of.most) for name, of in _statistics(bundle, evaluation).items()}
    return {name: at_level(scores.headline[name], level, least=low, most=high) for name, (low, high) in ranges.items()}


def _statistics(bundle: Bundle, evaluation: Evaluation) -> Mapping[str, Statistic]:
    return bundle.task.compared(evaluation.probabilities, evaluation.targets, bundle.answers(evaluation.probabilities))


def _others(
    pair: Sequence[tuple[Mapping[str, Score], Mapping[str, Statistic]]], targets: Values, clusters: I64 | None, seed: int
) -> dict[str, Score]:
    """Return the differences of two bundles' scores, each with an interval by the paired bootstrap (`apart`)."""
    strata = None if targets.ndim == 2 else targets
    weights = list(resamples(len(targets), strata=strata, clusters=clusters, seed=seed, repeats=REPEATS))
    (first, ours), (second, theirs) = pair
    found = {}
    for name, of in ours.items():
        correlation = _correlation(of.values(weights), theirs[name].values(weights))
        found[name] = apart(first[name], second[name], correlation, span=of.most - of.least)
    return found


def _correlation(first: F64, second: F64) -> float:
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any() or not first[known].std() or not second[known].std():
        return 0.0
    return float(np.corrcoef(first[known], second[known])[0, 1])
