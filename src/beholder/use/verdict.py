"""What a test found and what to do next, in plain sentences computed from its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beholder.base.records import Score
from beholder.measure.scores import Scores


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


def findings(scores: Scores) -> list[str]:
    """Return what the test found, the most important first; one to three sentences."""
    if scores.n == 0:
        return ["No picture could be tested, so nothing is known of this recogniser."]
    weakest = _weakest(scores)
    found = _overall(scores) if scores.confusion is not None else _overall_multi(scores)
    if weakest:
        found.append(_weak(scores, weakest) if scores.confusion is not None else _weak_multi(scores, weakest))
    return found


def advice(scores: Scores, bad: int = 0) -> list[str]:
    """Return what to do next; `bad`: how many pictures could not be read."""
    if scores.n and _hardly_learned(scores):
        return [
            "Do not use it yet: it does hardly better than a fixed answer. See whether the training loss falls above; "
            "if it does, train longer, if not, check that the labels belong to the pictures."
        ]
    steps = []
    weakest, main = _weakest(scores), next(iter(scores.headline.values()))
    if weakest and 0 < scores.classes[weakest]["recall"].n < 30:
        few = scores.classes[weakest]["recall"].n
        steps.append(f"Collect more pictures of “{weakest}”: only {few} {_were(few)} tested, so its figures are rough.")
    if scores.n and main.high - main.low > 0.1:
        points = f"{100 * (main.high - main.low):.0f}"
        steps.append(f"Test on more pictures: with {scores.n} the interval is {points} points wide.")
    steps += [
        f"Look at the mistakes between “{pair.truth}” and “{pair.guess}” below. Correct wrong labels first; "
        "where you cannot tell them apart yourself, the pictures do not show enough."
        for pair in confusions(scores, 1)
        if pair.count > 1 or scores.n < 100
    ]
    if bad:
        steps.append(f"Look at the {'picture' if bad == 1 else f'{bad} pictures'} that could not be read, listed below.")
    steps.append(
        "Try it on pictures from elsewhere (another camera, place or person) before you rely on it: "
        "these figures hold for pictures like those tested."
    )
    return steps


def percent(value: float) -> str:
    """Return a share as text: "96.2 %", never rounded up to a hundred or down to nothing; "–" for NaN."""
    if value != value:
        return "–"
    shown = f"{100 * value:.1f}"
    if (shown == "100.0" and value < 1) or (shown == "0.0" and value > 0):
        shown = "> 99.9" if value > 0.5 else "< 0.1"
    return f"{shown}\u00a0%"


def between(score: Score) -> str:
    """Return an interval as text: "94.1 to 97.6 %"."""
    return "–" if score.low != score.low else f"{100 * score.low:.1f} to {100 * score.high:.1f}\u00a0%"


def _overall(scores: Scores) -> list[str]:
    accuracy, confusion = scores.headline["accuracy"], scores.confusion
    assert confusion is not None
    right, counts = int(np.trace(confusion)), confusion.sum(axis=1)
    common, base = list(scores.classes)[int(counts.argmax())], _baseline(scores)
    first = (
        f"It named {right:,} of {scores.n:,} test pictures correctly: {percent(accuracy.value)}. With 95\u00a0% confidence "
        f"the true rate lies in {between(accuracy)}."
    )
    second = f"Always answering “{common}” would be right on {percent(base)}"
    if accuracy.low > base:
        return [first, f"{second}, so it has learned far more than that." if not _hardly_learned(scores) else f"{second}."]
    return [first, f"{second}: this test does not show that it has learned more than that."]


def _baseline(scores: Scores) -> float:
    """Return what knows nothing would reach: the share of the commonest class, or the mean share of the labels."""
    if scores.confusion is not None:
        return float(scores.confusion.sum(axis=1).max() / scores.n)
    return float(np.mean([of["recall"].n / scores.n for of in scores.classes.values() if of["recall"].n] or [np.nan]))


def _hardly_learned(scores: Scores) -> bool:
    """Return True where the main score may lie less than a tenth of the way from the baseline to perfect."""
    base = _baseline(scores)
    return next(iter(scores.headline.values())).low < base + 0.1 * (1 - base)


def _overall_multi(scores: Scores) -> list[str]:
    score = scores.headline["map"]
    return [
        f"Ranking {scores.n:,} test pictures by each class, it reaches a mean average precision of {percent(score.value)} "
        f"(95\u00a0% interval {between(score)}). Perfect is 100\u00a0%, "
        f"a random order gives about {percent(_baseline(scores))}."
    ]


def _weak(scores: Scores, label: str) -> str:
    recall = scores.classes[label]["recall"]
    if recall.value == 1:
        return "No picture of any class was missed."
    row = np.asarray(scores.confusion)[list(scores.classes).index(label)].copy()
    hits = round(recall.value * recall.n)
    row[list(scores.classes).index(label)] = 0
    text = f"It is weakest on “{label}”: it finds {hits} of {recall.n} ({percent(recall.value)}, interval {between(recall)})"
    if recall.n - hits > 1 and row.max() == 1:
        return f"{text}; the others are taken for {recall.n - hits} different classes."
    taken, count = list(scores.classes)[int(row.argmax())], int(row.max())
    if count == recall.n - hits:
        return f"{text}; it takes the {'other' if count == 1 else f'other {count}'} for “{taken}”."
    return f"{text}, and most often takes them for “{taken}” ({count} times)."


def _weak_multi(scores: Scores, label: str) -> str:
    of = scores.classes[label]
    recall, specificity, ap = of["recall"], of["specificity"], of["average_precision"]
    hits, alarms = round(recall.value * recall.n), 0
    if specificity.n:
        alarms = round((1 - specificity.value) * specificity.n)
    return (
        f"It is weakest on “{label}” (average precision {percent(ap.value)}, interval {between(ap)}): it finds {hits} of "
        f"{recall.n} and raises {alarms} false {'alarm' if alarms == 1 else 'alarms'} on {specificity.n} pictures without it."
    )


def _weakest(scores: Scores) -> str | None:
    """Return the class that does worst; among equals the one of which most is known."""
    name = "recall" if scores.confusion is not None else "average_precision"
    known = {label: of[name] for label, of in scores.classes.items() if of[name].value == of[name].value}
    return min(known, key=lambda label: (known[label].value, known[label].high), default=None)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
