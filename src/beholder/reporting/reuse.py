"""The report's section on test-set reuse: readings of the test part, and the score without known pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.evaluation.remarks import score
from beholder.evaluation.words import Words
from beholder.reporting.context import Room


def reuse(room: Room) -> dict[str, Any] | None:
    """Return sentences on the readings, and tiles (name, score, what it is): by reading, and by whether pictures are new."""
    section, words = room.section("reuse"), room.words
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
        return words("reuse.once" if readings else "reuse.never")
    return words("reuse.often", n=readings)


def _bounds(section: Mapping[str, Any], readings: int, words: Words) -> list[tuple[str, Any, str]]:
    """Return the score with each interval; after one reading only the first, for the others say nothing more."""
    first = (words("reuse.first"), score(section["once"]), words("reuse.first_about"))
    if readings < 2:
        return [first]
    level = words.percent(float(section["level"]))
    return [
        first,
        (words("reuse.corrected"), score(section["corrected"]), words("reuse.corrected_about", level=level)),
        (words("reuse.adaptive"), score(section["adaptive"]), words("reuse.adaptive_about")),
    ]


def _known(section: Mapping[str, Any], known: int, words: Words) -> str:
    if known:
        said = words("reuse.known", same=section["same"], alike=section["alike"])
    else:
        said = words("reuse.new" if section["remembers"] else "reuse.new_exact")
    return said if section["remembers"] else said + words("form.space") + words("reuse.forgets")


def _apart(section: Mapping[str, Any], words: Words) -> list[tuple[str, Any, str]]:
    names = [name for name in ("with", "without", "only") if section.get(name)]
    return [(words(f"reuse.{name}"), score(section[name]), "") for name in names]
