"""What a test of a detector found, in sentences computed from its scores, and as a table."""

from __future__ import annotations

import math

import numpy as np

from beholder.evaluation.detected_scores import DetectionScores
from beholder.evaluation.summary import Summary
from beholder.evaluation.words import Words

ENGLISH = Words("en")

FEW = 30
"""Objects of a class below which its figures are called rough."""

BELIEVED, TELLING = 0.05, 50
"""Calibration error from which on scores are called too high or too low, and boxes that it has to rest on."""

SIZES = ("small", "medium", "large")
APART = 0.2
"""Average precision by which the worst size has to lie below the best to be named."""

WIDE = 0.1
"""Width of the interval of AP from which on more test pictures are advised."""


def summary(scores: DetectionScores, *, bad: int = 0, words: Words = ENGLISH) -> Summary:
    """Return findings, weaknesses and advice, each list the most important first; bad: pictures that could not be read."""
    return Summary(findings(scores, words), weaknesses(scores, words), advice(scores, bad, words))


def findings(scores: DetectionScores, words: Words = ENGLISH) -> list[str]:
    """Return how good it is overall."""
    if not scores.boxes:
        return [words("boxes.nothing", n=scores.n)]
    ap, ap50 = scores.headline["ap"], scores.headline["ap50"]
    of_ap = {"ap": words.percent(ap.value), "ap_between": words.between(ap)}
    of_ap50 = {"ap50": words.percent(ap50.value), "ap50_between": words.between(ap50)}
    first = words("boxes.found", n=scores.n, boxes=scores.boxes, **of_ap, **of_ap50)
    told = scores.overall
    if not told.right + told.false:
        return [first, words("boxes.no_box")]
    shares = {name: words.percent(getattr(told, name).value) for name in ("recall", "precision")}
    return [first, words("boxes.told", right=told.right, boxes=scores.boxes, **shares)]


def weaknesses(scores: DetectionScores, words: Words = ENGLISH) -> list[str]:
    """Return what it is bad at: its weakest class, most of its errors, what costs most, scores that cannot be believed."""
    said = [_weakest(scores, words), *_errors(scores, words), _confused(scores, words), _by_size(scores, words)]
    said += [_rare(scores, words), _unbelieved(scores, words)]
    if scores.absent and scores.boxes:
        said.append(words("boxes.absent", names=_names(scores.absent, words)))
    return [sentence for sentence in said if sentence]


def advice(scores: DetectionScores, bad: int = 0, words: Words = ENGLISH) -> list[str]:
    """Return what to do next; bad: pictures that could not be read."""
    steps = []
    if kind := _costliest(scores) or _commonest(scores):
        steps.append(words(f"boxes.next_{kind}"))
    label = weakest(scores)
    if label and scores.classes[label].boxes < FEW:
        steps.append(words("boxes.next_collect", label=label, n=scores.classes[label].boxes))
    ap = scores.headline["ap"]
    if ap.high - ap.low > WIDE:
        steps.append(words("boxes.next_test_more", n=scores.n, points=f"{100 * (ap.high - ap.low):.0f}"))
    if bad:
        steps.append(words("next.unreadable", n=bad))
    return [*steps, words("next.elsewhere")]


def weakest(scores: DetectionScores) -> str | None:
    """Return the class whose AP50 is lowest, None where there is one class at most with objects."""
    known = {name: of.ap50.value for name, of in scores.classes.items() if not math.isnan(of.ap50.value)}
    return min(known, key=lambda name: known[name]) if len(known) > 1 else None


def _names(names: list[str], words: Words) -> str:
    more = f" + {len(names) - 5}" if len(names) > 5 else ""
    return words("form.comma").join(f"“{name}”" for name in names[:5]) + more


def _weakest(scores: DetectionScores, words: Words) -> str:
    label = weakest(scores)
    if label is None:
        return ""
    of = scores.classes[label]
    facts = {"share": words.percent(of.ap50.value), "between": words.between(of.ap50)}
    return words("boxes.weakest", label=label, right=of.rates.right, boxes=of.boxes, **facts)


def _commonest(scores: DetectionScores) -> str:
    return max(scores.wrong, key=lambda kind: scores.wrong[kind]) if any(scores.wrong.values()) else ""


def _costliest(scores: DetectionScores) -> str:
    gains = {kind: gain for kind, gain in scores.kinds.gains.items() if gain >= 0.005}
    return max(gains, key=lambda kind: gains[kind]) if gains else ""


def _errors(scores: DetectionScores, words: Words) -> list[str]:
    common, costly = _commonest(scores), _costliest(scores)
    said = []
    if common:
        names = {"kind": words(f"boxes.kind_{common}"), "means": words(f"boxes.means_{common}")}
        said.append(words("boxes.most", total=sum(scores.wrong.values()), count=scores.wrong[common], **names))
    if costly:
        gain = f"{100 * scores.kinds.gains[costly]:.1f}"
        said.append(words("boxes.costs", kind=words(f"boxes.kind_{costly}"), gain=gain))
    return said


def _confused(scores: DetectionScores, words: Words) -> str:
    """Return the commonest confusion of two classes, where it happened more than once."""
    table = scores.confusion[:-1, :-1].copy()
    np.fill_diagonal(table, 0)
    if not table.size or table.max() < 2:
        return ""
    row, column = divmod(int(table.argmax()), len(table))
    share, names = table[row, column] / max(1, scores.confusion[row].sum()), list(scores.classes)
    facts = {"truth": names[row], "guess": names[column], "share": words.percent(float(share))}
    return words("boxes.confused", count=int(table[row, column]), **facts)


def _by_size(scores: DetectionScores, words: Words) -> str:
    known = {size: scores.headline[f"ap_{size}"] for size in SIZES}
    known = {size: score for size, score in known.items() if not math.isnan(score.low)}
    if len(known) < 2:
        return ""
    low, high = (of(known, key=lambda size: known[size].value) for of in (min, max))
    if known[high].value - known[low].value < APART or known[low].high > known[high].low:
        return ""
    shares = {"low": words.percent(known[low].value), "high": words.percent(known[high].value)}
    return words("boxes.by_size", small=words(f"boxes.size_{low}"), large=words(f"boxes.size_{high}"), **shares)


def _rare(scores: DetectionScores, words: Words) -> str:
    few = [name for name, of in scores.classes.items() if 0 < of.boxes < FEW]
    return words("boxes.rare", names=_names(few, words), least=FEW) if few else ""


def _unbelieved(scores: DetectionScores, words: Words) -> str:
    total = sum(row["n"] for row in scores.bins)
    if total < TELLING or not scores.ece > BELIEVED:
        return ""
    bias = sum(row["n"] * (row["certainty"] - row["right"]["value"]) for row in scores.bins) / total
    return words("boxes.too_sure" if bias > 0 else "boxes.too_shy", share=words.percent(scores.ece))


def table(scores: DetectionScores) -> str:
    """Return the scores for people: a line for each over all classes, a row for each class, a row of error kinds."""
    lines = [f"{words} {score}" for words, score in _headline(scores)]
    rows = [["class", "boxes", "AP", "AP50", "precision", "recall", "F1"]]
    for name, of in scores.classes.items():
        figures = [of.ap, of.ap50, of.rates.precision, of.rates.recall, of.rates.f1]
        rows.append([name, f"{of.boxes:,}", *(score.short() for score in figures)])
    told = scores.overall
    rows.append(
        ["all, at the thresholds", f"{scores.boxes:,}", "", "", *(s.short() for s in (told.precision, told.recall, told.f1))]
    )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["", *("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows)]
    kinds = [f"{ENGLISH(f'boxes.kind_{kind}')} {count:,}" for kind, count in scores.wrong.items()]
    return "\n".join([*lines, "", "errors: " + ", ".join(kinds)]).strip()


def _headline(scores: DetectionScores) -> list[tuple[str, object]]:
    return [(ENGLISH(f"boxes.score_{name}"), score) for name, score in scores.headline.items() if score.value == score.value]
