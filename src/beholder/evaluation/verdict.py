"""What a test found and what to do next, in plain sentences computed from its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from beholder.base.records import Score
from beholder.bundle.config import Config
from beholder.evaluation.words import Words
from beholder.measure.ordinal import ERROR, KAPPA
from beholder.measure.scores import Scores
from beholder.tasks import named

ENGLISH = Words("en")
FEW = 30
"""Below this many pictures of a class its recall is not known to within 15 points or so: advice asks for more."""


@dataclass(frozen=True)
class Confusion:
    """Pictures of `truth` that were taken for `guess`: how many, and as a share in 0..1 of those of `truth`."""

    truth: str
    guess: str
    count: int
    share: float


def confusions(scores: Scores, limit: int) -> list[Confusion]:
    """Return the most frequent confusions, at most `limit`; none for multi-label."""
    if scores.confusion is None:
        return []
    names, wrong = list(scores.classes), scores.confusion.copy()
    np.fill_diagonal(wrong, 0)
    totals = scores.confusion.sum(axis=1)
    found = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:limit].tolist():
        row, column = divmod(cell, len(names))
        if wrong[row, column]:
            count = int(wrong[row, column])
            found.append(Confusion(names[row], names[column], count, count / int(totals[row])))
    return found


def findings(scores: Scores, words: Words = ENGLISH) -> list[str]:
    """Return how good it is overall and beside knowing nothing; one or two sentences."""
    if scores.n == 0:
        return [words("verdict.nothing")]
    if scores.confusion is None:
        return [_overall_multi(scores, words)]
    return [*_graded(scores, words), *_overall(scores, words)]


def without_leaks(unleaked: Mapping[str, Score] | None, words: Words = ENGLISH) -> list[str]:
    """Return what is left of the score without the pictures that have duplicates in other parts, where there are some."""
    if not unleaked:
        return []
    return [words("verdict.leaks", **_share(unleaked.get("accuracy") or next(iter(unleaked.values())), words))]


def weaknesses(scores: Scores, words: Words = ENGLISH) -> list[str]:
    """Return what it is bad at as far as the scores tell: its weakest class, and the confusion that costs most."""
    weakest = _weakest(scores) if scores.n else None
    if not weakest:
        return []
    if scores.confusion is None:
        return [_weak_multi(scores, weakest, words)]
    found = [_weak(scores, weakest, words)]
    pairs = [pair for pair in confusions(scores, 1) if pair.truth != weakest and pair.count > 1]
    return found + [words("verdict.pair", n=p.count, truth=p.truth, guess=p.guess, share=words.percent(p.share)) for p in pairs]


def advice(scores: Scores, bad: int = 0, words: Words = ENGLISH) -> list[str]:
    """Return what to do next; `bad`: how many pictures could not be read."""
    if scores.n and hardly_learned(scores):
        return [words("next.not_yet")]
    steps = []
    weakest, main = _weakest(scores), next(iter(scores.shares.values()))
    if weakest and 0 < scores.classes[weakest]["recall"].n < FEW:
        steps.append(words("next.collect", n=scores.classes[weakest]["recall"].n, label=weakest))
    if scores.n and main.high - main.low > 0.1:
        steps.append(words("next.test_more", n=scores.n, points=f"{100 * (main.high - main.low):.0f}"))
    steps += [
        words("next.look_between", truth=pair.truth, guess=pair.guess)
        for pair in confusions(scores, 1)
        if pair.count > 1 or scores.n < 100
    ]
    if bad:
        steps.append(words("next.unreadable", n=bad))
    return steps


def last_advice(scores: Scores, words: Words = ENGLISH) -> list[str]:
    """Return what holds for every model that has learned something."""
    return [] if scores.n and hardly_learned(scores) else [words("next.elsewhere")]


def hardly_learned(scores: Scores) -> bool:
    """Return True where the main score may lie less than a tenth of the way from the baseline to perfect, or nobody can say."""
    name, score = next(iter(scores.headline.items()))
    base = 0.0 if name in scores.ranges and score.value == score.value else _baseline(scores)
    known = score if score.value == score.value else next(iter(scores.shares.values()))
    return not known.low >= base + 0.1 * (1 - base)


def _graded(scores: Scores, words: Words) -> list[str]:
    """Return how far grades agree with the truth; nothing of classes without an order."""
    agreed, off = scores.headline.get(KAPPA), scores.headline.get(ERROR)
    if agreed is None or off is None:
        return []
    error = f"{off.value:.2f}"
    if agreed.value != agreed.value:
        return [words("verdict.ungraded", error=error)]
    held = words.between(agreed, scores.ranges.get(KAPPA))
    return [words("verdict.graded", kappa=f"{agreed.value:.3f}", between=held, error=error)]


def _overall(scores: Scores, words: Words) -> list[str]:
    accuracy, confusion = scores.headline["accuracy"], scores.confusion
    assert confusion is not None
    right, counts = int(np.trace(confusion)), confusion.sum(axis=1)
    common, base = list(scores.classes)[int(counts.argmax())], _baseline(scores)
    share, held = words.percent(accuracy.value), words.between(accuracy)
    known = "right" if accuracy.low == accuracy.low else "right_of_few_groups"
    first = words(f"verdict.{known}", right=f"{right:,}", n=scores.n, share=share, between=held)
    kind = "unproven" if not accuracy.low > base else "hardly" if hardly_learned(scores) else "learned"
    return [first, words(f"verdict.baseline_{kind}", label=common, share=words.percent(base))]


def _baseline(scores: Scores) -> float:
    """Return what knows nothing would reach: the share of the commonest class, or the mean share of the labels."""
    if scores.confusion is not None:
        return float(scores.confusion.sum(axis=1).max() / scores.n)
    return float(np.mean([of["recall"].n / scores.n for of in scores.classes.values() if of["recall"].n] or [np.nan]))


def _overall_multi(scores: Scores, words: Words) -> str:
    score = scores.headline["map"]
    base = words.percent(_baseline(scores))
    return words("verdict.ranks", n=scores.n, share=words.percent(score.value), between=words.between(score), base=base)


def _weak(scores: Scores, label: str, words: Words) -> str:
    recall = scores.classes[label]["recall"]
    if recall.value == 1:
        return words("verdict.none_missed")
    names = list(scores.classes)
    row = np.asarray(scores.confusion)[names.index(label)].copy()
    hits = round(recall.value * recall.n)
    row[names.index(label)] = 0
    facts = {"label": label, "hits": hits, "total": recall.n, **_share(recall, words)}
    missed, taken, count = recall.n - hits, names[int(row.argmax())], int(row.max())
    if missed > 1 and count == 1:
        return words("verdict.weak_scattered", **facts, missed=missed)
    if count == missed:
        return words("verdict.weak_all", **facts, n=count, taken=taken)
    return words("verdict.weak_most", **facts, count=count, taken=taken)


def _share(score: Score, words: Words) -> dict[str, str]:
    return {"share": words.percent(score.value), "between": words.between(score)}


def _weak_multi(scores: Scores, label: str, words: Words) -> str:
    of = scores.classes[label]
    recall, specificity = of["recall"], of["specificity"]
    hits = round(recall.value * recall.n)
    alarms = round((1 - specificity.value) * specificity.n) if specificity.n else 0
    facts = _share(of["average_precision"], words)
    return words("verdict.weak_multi", label=label, hits=hits, total=recall.n, n=alarms, others=specificity.n, **facts)


def _weakest(scores: Scores) -> str | None:
    """Return the class that does worst; among equals the one of which most is known."""
    name = "recall" if scores.confusion is not None else "average_precision"
    known = {label: of[name] for label, of in scores.classes.items() if of[name].value == of[name].value}
    return min(known, key=lambda label: (known[label].value, known[label].high), default=None)


def clock(config: Config, words: Words = ENGLISH) -> str:
    """Return what the clock did to a run, as a bundle's config tells it; "" where it cut nothing."""
    said = config.clock
    return words("verdict.clock", said=said[:1].upper() + said[1:]) if said else ""


def sampled(n: int, whole: int, words: Words = ENGLISH) -> str:
    """Return that n of so many pictures were tested; "" where there was time for all: `whole` is 0."""
    return words("verdict.sampled", n=n, whole=whole) if whole else ""


def unbeaten(config: Config, words: Words = ENGLISH) -> str:
    """Return by what a net is beaten on validation that anybody has for little, from a bundle's config; "" where by nothing."""
    floor = config.floor
    if floor is None or (floor.net is not None and floor.net >= floor.score):
        return ""
    span = None if named(config.task).share else (0.0, 1.0)
    reached, n = words.figure(floor.score, span), floor.chosen
    if floor.kept:
        return words("verdict.floor_kept", floor=reached, n=n)
    return words("verdict.floor", floor=reached, net=words.figure(floor.net or 0.0, span), n=n)
