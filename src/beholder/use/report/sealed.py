"""The report's part `sealed`: how often the test part was read, and the score without pictures that are not new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.use.remarks import score
from beholder.use.report.room import Room
from beholder.use.words import Words


def sealed(room: Room) -> dict[str, Any] | None:
    """Return sentences on the readings, and tiles (name, score, what it is): by reading, and by whether pictures are new."""
    section, words = room.section("sealed"), room.words
    if section is None:
        return None
    readings, known = int(section["readings"]), int(section["same"]) + int(section["alike"])
    return {
        "name": words.named("score", section["name"]),
        "said": _readings(readings, words),
        "dates": [str(date)[:16].replace("T", " ") for date in section["dates"]],
        "hidden": max(0, readings - len(section["dates"])),
        "bounds": _bounds(section, readings, words),
        "known": _known(section, known, words),
        "apart": _apart(section, words) if known else [],
    }


def _readings(readings: int, words: Words) -> str:
    if readings < 2:
        return words("sealed.once" if readings else "sealed.never")
    return words("sealed.often", n=readings)


def _bounds(section: Mapping[str, Any], readings: int, words: Words) -> list[tuple[str, Any, str]]:
    """Return the score with each interval; after one reading only the first, for the others say nothing more."""
    first = (words("sealed.first"), score(section["once"]), words("sealed.first_about"))
    if readings < 2:
        return [first]
    level = words.percent(float(section["level"]))
    return [
        first,
        (words("sealed.corrected"), score(section["corrected"]), words("sealed.corrected_about", level=level)),
        (words("sealed.adaptive"), score(section["adaptive"]), words("sealed.adaptive_about")),
    ]


def _known(section: Mapping[str, Any], known: int, words: Words) -> str:
    if known:
        said = words("sealed.known", same=section["same"], alike=section["alike"])
    else:
        said = words("sealed.new" if section["remembers"] else "sealed.new_exact")
    return said if section["remembers"] else said + words("form.space") + words("sealed.forgets")


def _apart(section: Mapping[str, Any], words: Words) -> list[tuple[str, Any, str]]:
    names = [name for name in ("with", "without", "only") if section.get(name)]
    return [(words(f"sealed.{name}"), score(section[name]), "") for name in names]
