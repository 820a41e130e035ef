"""The findings, weaknesses and advice of each section of a test: plain sentences computed from its figures.

Each function takes what a section of `evaluation.sections` found, as it stands in scores.json, and returns what to say of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beholder.base import events
from beholder.base.records import Score
from beholder.evaluation.words import Words

Section = Mapping[str, Any]

BELIEVED = 0.03
"""Probabilities are called well calibrated where the calibration error is estimated at most at this."""

SURELY = 0.1
"""The interval of that error must end at most here: else there are too few pictures to say so, and nothing is said."""

NOTICED = 0.5
"""An out-of-distribution set of which fewer are detected is named among the weaknesses."""

LOST = 0.1
"""Points lost under corruption, in 0..1, above which stronger augmentation is advised."""

ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What goes wrong where a section holds other keys or values than is expected."""


@dataclass(frozen=True)
class Remarks:
    """Sentences of one section: what was found, what it is bad at, what to do next."""

    findings: list[str] = field(default_factory=list)
    weaknesses: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


def remarks(sections: Mapping[str, Section], words: Words) -> list[Remarks]:
    """Return what each known section says, in a fixed order; one with other keys than expected says nothing, and warns."""
    said = []
    for name, say in REMARKS.items():
        try:
            said.append(say(sections[name], words) if sections.get(name) else Remarks())
        except ODD as error:
            events.warn(f"no sentence is said about the section '{name}': {type(error).__name__}: {error}")
    return said


def score(value: Mapping[str, Any]) -> Score:
    """Return a score from {"value", "low", "high", "n"}; None becomes NaN."""
    value_, low, high = (math.nan if value[key] is None else float(value[key]) for key in ("value", "low", "high"))
    return Score(value_, low, high, int(value["n"]))


def _of(value: Mapping[str, Any], words: Words) -> dict[str, str]:
    found = score(value)
    return {"share": words.percent(found.value), "between": words.between(found)}


def bias(bins: list[Mapping[str, Any]]) -> float:
    """Return how much surer it is than right, on average over the pictures of the bins: above 0 is too sure."""
    total = sum(int(row["n"]) for row in bins)
    return sum(int(row["n"]) * (float(row["certainty"]) - float(row["right"]["value"])) for row in bins) / max(1, total)


def _calibration(section: Section, words: Words) -> Remarks:
    error = section["after"]["ece"]
    if error["value"] is None:
        return Remarks()
    facts, found = _of(error, words), score(error)
    if found.value <= BELIEVED:
        return Remarks(findings=[words("calibration.believed", **facts)] if found.high <= SURELY else [])
    if not found.low > 0:
        return Remarks()
    kind = "sure" if bias(section["reliability"]["after"]) > 0 else "shy"
    return Remarks(weaknesses=[words(f"calibration.too_{kind}", **facts)], advice=[words("calibration.advice")])


def _selective(section: Section, words: Words) -> Remarks:
    findings, weaknesses = _curve(section, words), []
    for name in ("risk", "sensitivity"):
        point = section.get(name)
        if point is None:
            continue
        target = words.percent(float(point["target"]))
        if point["threshold"] is None:
            weaknesses.append(words(f"selective.no_{name}", target=target, label=point["label"]))
            continue
        text = operating(name, point, words)
        (findings if point["kept"] else weaknesses).append(text)
    return Remarks(findings=findings, weaknesses=weaknesses)


def operating(name: str, point: Section, words: Words) -> str:
    """Return a sentence on an operating point (risk | sensitivity) with a threshold: what was promised, and what was seen."""
    target = words.percent(float(point["target"]))
    said = words("selective.kept" if point["kept"] else "selective.broken", target=target)
    if name == "risk":
        answered, wrong = _of(point["coverage"], words), _of(point["risk"], words)
        return words("selective.risk", answered=answered["share"], share=wrong["share"], between=wrong["between"], kept=said)
    found, quiet = _of(point["sensitivity"], words), _of(point["specificity"], words)
    facts = {"quiet": quiet["share"], "quiet_between": quiet["between"], "label": point["label"], "kept": said}
    return words("selective.sensitivity", **found, **facts)


def _curve(section: Section, words: Words) -> list[str]:
    """Return what could be answered at the smallest risk for which that is at least half, where the risk would fall by it."""
    whole = float(section["curve"][-1]["risk"])
    rows = [row for row in section["at"] if row["coverage"] >= 0.5 and row["risk"] <= whole / 2]
    if not rows or section.get("risk"):
        return []
    row = min(rows, key=lambda row: float(row["risk"]))
    coverage, risk = words.percent(float(row["coverage"])), words.percent(float(row["risk"]))
    return [words("selective.could", coverage=coverage, risk=risk)]


def _ood(section: Section, words: Words) -> Remarks:
    caught = {name: score(one["caught"]) for name, one in section["sets"].items() if one.get("caught")}
    if not caught:
        return Remarks()
    worst = min(caught, key=lambda name: caught[name].value)
    facts = {"share": words.percent(caught[worst].value), "between": words.between(caught[worst])}
    name = words.named("set", worst)
    if caught[worst].value < NOTICED:
        return Remarks(weaknesses=[words("ood.missed", name=name, **facts)], advice=[words("ood.advice")])
    return Remarks(findings=[words("ood.noticed", name=name, **facts)])


def _corruptions(section: Section, words: Words) -> Remarks:
    worst, clean = section["worst"], _of(section["clean"], words)
    kinds = sorted(section["kinds"], key=lambda kind: float(section["kinds"][kind]["mean"]["value"]))
    facts = {"kind": words.named("kind", worst["kind"]), "severity": worst["severity"], "clean": clean["share"]}
    lost = score(section["lost"])
    advice = []
    if lost.value > LOST:
        names = words("form.comma").join(words.named("kind", kind) for kind in kinds[:3])
        advice = [words("corruptions.advice", names=names, lost=f"{100 * lost.value:.0f}")]
    return Remarks(weaknesses=[words("corruptions.worst", **facts, **_of(worst["score"], words))], advice=advice)


def _slices(section: Section, words: Words) -> Remarks:
    worst, overall = section["worst"], words.percent(float(section["overall"]))
    if worst is None:
        return Remarks(findings=[words("slices.even", n=section["looked_at"])])
    name = slice_name(worst["name"], words)
    said = words("slices.bad", name=name, n=section["looked_at"], overall=overall, **_of(worst["score"], words))
    return Remarks(weaknesses=[said], advice=[words("slices.advice", name=name)])


def _reuse(section: Section, words: Words) -> Remarks:
    """Return one sentence where the test part was read more than once, or pictures tested are not new to the model."""
    said, known = [], int(section["same"]) + int(section["alike"])
    if section["readings"] > 1:
        between, name = words.between(score(section["corrected"])), words.named("score", section["name"])
        said.append(words("reuse.verdict_often", n=section["readings"], between=between, name=name))
    if known and section.get("without"):
        said.append(words("reuse.verdict_without", known=known, **_of(section["without"], words)))
    elif known:
        said.append(words("reuse.verdict_known", known=known))
    joined = words("form.semicolon").join(said)
    return Remarks(findings=[words("reuse.verdict", said=joined)] if said else [])


def _shortcuts(section: Section, words: Words) -> Remarks:
    """Return, cue by cue, which classes it tells as well as the model does: the surest first, two cues at most."""
    standing: dict[str, list[Mapping[str, Any]]] = {}
    for row in section["rows"]:
        if row["kind"] == "stands":
            standing.setdefault(row["facet"], []).append(row)
    if "border" in standing:
        standing.pop("corners", None)  # corners are of the border: they are covered together
    said = Remarks()
    for facet, rows in list(standing.items())[:2]:
        names = words("form.comma").join(words("shortcuts.label", label=row["label"]) for row in rows[:3])
        more = words("shortcuts.more", n=len(rows) - 3) if len(rows) > 3 else ""
        cue, model = f"{float(rows[0]['area']):.3f}", f"{score(rows[0]['model']).value:.3f}"
        facts = {"names": names + more, "facet": words.named("shortcuts", facet.replace(" ", "_")), "cue": cue, "model": model}
        seen = rows[0]["covered"] is not None
        covered = f"{float(rows[0]['covered']):.3f}" if seen else ""
        said.findings.append(words("shortcuts.covered" if seen else "shortcuts.found", **facts, covered=covered))
        said.weaknesses.append(words("shortcuts.weak", **facts))
        said.advice.append(words("shortcuts.advice", **facts))
    return said


def shortcut_apart(row: Mapping[str, Any], words: Words) -> str:
    """Return why a shortcut of the audit is none of this model's; "" for one that stands, or of which nothing is known."""
    if row["kind"] == "weaker":
        return words("shortcuts.weaker", model=f"{score(row['model']).value:.3f}")
    if row["kind"] != "look":
        return ""
    return words("shortcuts.kinds") if row["covered"] is None else words("shortcuts.look", covered=f"{row['covered']:.3f}")


def slice_name(name: str, words: Words) -> str:
    """Return the name of a slice, "brightness: lowest quarter", in the words of the report; names stay as they are."""
    what, _, which = name.partition(": ")
    return words("slices.name", what=words.named("slice", what.replace(" ", "_")), which=words.said(which))


REMARKS: Mapping[str, Callable[[Section, Words], Remarks]] = {
    "shortcuts": _shortcuts,
    "reuse": _reuse,
    "calibration": _calibration,
    "selective": _selective,
    "ood": _ood,
    "corruptions": _corruptions,
    "slices": _slices,
}
"""Sections that say something, in order; what the first says comes before all that follows from the scores."""
