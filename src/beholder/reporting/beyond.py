"""The report's parts beyond the scores: one for each section of `evaluation.sections`, from what stands in scores.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beholder.evaluation.remarks import operating, score, slice_name
from beholder.evaluation.words import Words
from beholder.reporting import charts
from beholder.reporting.context import Room

ERRORS = ("ece", "brier", "nll")
"""What the table of calibration shows, in its order; the first is a share, the others are not."""

SHOWN = 12
"""Pictures of the worst slice."""

MOST_ROWS = 60
"""Figures that are shown of a section without a part of its own."""


def calibration(room: Room) -> dict[str, Any] | None:
    """Return the reliability diagram, before and after, and the table of errors."""
    section, words = room.section("calibration"), room.words
    if section is None:
        return None
    bins = section["reliability"]
    curves = [_reliability(bins["after"], words("calibration.after"), "first", spans=True)]
    if section["method"] != "none":
        curves.append(_reliability(bins["before"], words("calibration.before"), "third", spans=False))
    axes = (
        charts.Axis(words("calibration.certainty"), 0, 1, percent=True),
        charts.Axis(words("calibration.right"), 0, 1, percent=True),
    )
    told = words("calibration.alt", n=len(bins["after"]))
    chart: dict[str, Any] = {
        "title": words("calibration.diagram"),
        "svg": charts.chart(told, curves, *axes, diagonal=True),
        "curves": curves,
        "note": words("calibration.diagonal"),
    }
    rows = [
        {"name": words(f"calibration.{name}"), "about": words(f"calibration.{name}_about")}
        | {side: score(section[side][name]) for side in ("before", "after", "difference")}
        for name in ERRORS
    ]
    method = words(f"calibration.by_{section['method']}", n=section["n_fitted"], temperature=f"{section['temperature']:.2f}")
    return {"chart": chart if chart["svg"] else None, "rows": rows, "method": method}


def _reliability(bins: Sequence[Mapping[str, Any]], name: str, style: str, *, spans: bool) -> charts.Series:
    points = [(float(row["certainty"]), float(row["right"]["value"])) for row in bins]
    told = [row for row in bins if row["right"]["low"] is not None]
    bars = [(float(row["certainty"]), float(row["right"]["low"]), float(row["right"]["high"])) for row in told]
    return charts.Series(name, style, points, spans=bars if spans else (), dots=len(points) < 2)


def selective(room: Room) -> dict[str, Any] | None:
    """Return the risk-coverage curve, what could be answered at some risks, the operating points and the prediction sets."""
    section, words = room.section("selective"), room.words
    if section is None:
        return None
    points = [(float(row["coverage"]), float(row["risk"])) for row in section["curve"]]
    curve = charts.Series(words("selective.curve"), "first", points)
    axes = (
        charts.Axis(words("selective.answered"), 0, 1, percent=True),
        charts.Axis(words("selective.wrong"), 0, percent=True),
    )
    whole = words.percent(points[-1][1])
    svg = charts.chart(words("selective.alt", risk=whole), [curve], *axes)
    chart: dict[str, Any] = {"title": words("selective.curve"), "svg": svg, "curves": [], "note": words("selective.read")}
    promises = [_promise(name, section[name], words) for name in ("risk", "sensitivity") if section.get(name)]
    return {
        "chart": chart if svg else None,
        "at": section["at"],
        "aurc": score(section["aurc"]),
        "promises": promises,
        "sets": _sets(section.get("conformal"), words),
    }


def _promise(name: str, point: Mapping[str, Any], words: Words) -> str:
    if point["threshold"] is None:
        target = words.percent(float(point["target"]))
        return (
            words(f"selective.no_{name}", target=target, label=point["label"])
            + words("form.space")
            + words.said(point["reason"])
        )
    basis = {"threshold": f"{point['threshold']:.3f}", "n": point["n"], "confidence": words.percent(float(point["confidence"]))}
    return operating(name, point, words) + words("form.space") + words("selective.basis", **basis)


def _sets(found: Mapping[str, Any] | None, words: Words) -> dict[str, Any] | None:
    """Return a sentence on the prediction sets, and rows (size, pictures, share) of how large they are."""
    if found is None:
        return None
    held = score(found["coverage"])
    promise = words.percent(float(found["coverage_promised"]))
    facts = {"promise": promise, "share": words.percent(held.value), "between": words.between(held), "n": found["n"]}
    low, high = (f"{100 * float(v):.1f}" for v in found["spread"])
    total = sum(found["sizes"].values())
    rows = [(size, count, count / max(1, total)) for size, count in found["sizes"].items()]
    said = words("selective.sets", mean=f"{found['mean_size']:.2f}", spread=words("form.between", low=low, high=high), **facts)
    return {"said": said, "rows": rows[:12]}


def ood(room: Room) -> dict[str, Any] | None:
    """Return per out-of-distribution set how many are detected, and how well each score separates them."""
    section, words = room.section("ood"), room.words
    if section is None:
        return None
    rows = [
        {"name": words.named("set", name), "n": one["n"], "caught": score(one["caught"]) if one.get("caught") else None}
        | {"auroc": {by: score(value) for by, value in one["auroc"].items()}}
        | {"fpr95": {by: score(value) for by, value in one["fpr95"].items()}}
        for name, one in section["sets"].items()
    ]
    names = list(rows[0]["auroc"]) if rows else []
    accepted = section.get("accepted")
    return {
        "rows": rows,
        "names": names,
        "by": section["score"],
        "accept": words.percent(float(section["accept"])),
        "accepted": score(accepted) if accepted else None,
        "fitted_on": section["fitted_on"],
    }


def corruptions(room: Room) -> dict[str, Any] | None:
    """Return the table of corruptions, group by group: the score at each severity, and how much of the clean one is lost."""
    section, words = room.section("corruptions"), room.words
    if section is None:
        return None
    clean = score(section["clean"])
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, kind in section["kinds"].items():
        cells = [(value := score(cell), _lost(value.value, clean.value)) for cell in kind["severities"]]
        mean = score(kind["mean"])
        row = {"name": words.named("kind", name), "cells": cells, "mean": mean, "lost": _lost(mean.value, clean.value)}
        groups.setdefault(words.named("group", kind["group"]), []).append(row)
    return {
        "n": section["n"],
        "of": section["of"],
        "clean": clean,
        "error": score(section["error"]),
        "lost": score(section["lost"]),
        "groups": groups,
        "severities": len(next(iter(section["kinds"].values()))["severities"]),
    }


def _lost(value: float, clean: float) -> float:
    """Return the share of the clean score that is gone, 0..1."""
    return min(1.0, max(0.0, 1 - value / clean)) if clean > 0 else 0.0


def slices(room: Room) -> dict[str, Any] | None:
    """Return the table of slices, the most surely bad first, and pictures of the worst one."""
    section, words = room.section("slices"), room.words
    if section is None:
        return None
    rows = [
        {"name": slice_name(one["name"], words), "score": score(one["score"]), "share": one["share"], "p": one["p"]}
        for one in section["slices"]
    ]
    worst = section["worst"]
    keys = worst["keys"][:SHOWN] if worst else []
    index = {key: row for row, key in enumerate(room.evaluation.keys)}
    pictures = [{"image": room.picture(index[key]), "key": key} for key in keys if key in index]
    return {
        "looked_at": section["looked_at"],
        "overall": section["overall"],
        "rows": rows,
        "worst": slice_name(worst["name"], words) if worst else None,
        "pictures": [picture for picture in pictures if picture["image"]],
    }


def others(room: Room) -> dict[str, Any] | None:
    """Return {"groups"}: heading and rows (name, value) of every section that has no part of its own, as it stands."""
    words, known = room.words, room.words.has
    sections = {name: found for name, found in room.evaluation.sections.items() if found and not known(f"{name}.title")}
    groups = [(name.replace("_", " "), list(_rows(found, words))[:MOST_ROWS]) for name, found in sections.items()]
    return {"groups": groups} if groups else None


def _rows(found: Mapping[str, Any], words: Words, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and value of what a section holds; scores with their intervals, lists only where they are of plain values."""
    for name, value in found.items():
        if isinstance(value, Mapping) and set(value) == {"value", "low", "high", "n"}:
            one = score(value)
            between = f"[{one.low:.4g}, {one.high:.4g}]" if one.low == one.low else f"({words('form.not_estimable')})"
            yield f"{prefix}{name}", f"{one.value:.4g} {between} {words('scores.of', n=one.n)}"
        elif isinstance(value, Mapping):
            yield from _rows(value, words, f"{prefix}{name}.")
        elif not isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else words.said(str(value))
        elif all(isinstance(item, (str, int, float)) for item in value):
            yield f"{prefix}{name}", ", ".join(f"{item:.4g}" if isinstance(item, float) else str(item) for item in value)
