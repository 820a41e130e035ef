"""The report's section on inference cost: latency, throughput, memory, FLOPs, size on disk and energy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from beholder.base.records import Score
from beholder.evaluation.remarks import score
from beholder.evaluation.words import Words
from beholder.reporting.context import Room

PREFIXES = {-1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P"}
"""Powers of 1000 and what stands before a unit for them."""


def cost(room: Room) -> dict[str, Any] | None:
    """Return the device, the times of one picture in ms, pictures a second by batch, and tiles (name, value, what it is)."""
    section, words = room.section("cost"), room.words
    if section is None:
        return None
    kinds = [kind for kind in ("latency", "opening") if section.get(kind)]
    shares = list(section["latency"])
    return {
        "device": section["device"],
        "kinds": [(words(f"cost.{kind}"), words(f"cost.{kind}_about")) for kind in kinds],
        "times": [
            (name, words.named("quantile", name), [_milliseconds(score(section[kind][name])) for kind in kinds])
            for name in shares
        ],
        "n": section["latency"][shares[0]]["n"],
        "rates": _rates(section["throughput"]),
        "best": words(
            "cost.best", rate=digits(float(section["throughput"]["per_second"])), batch=section["throughput"]["batch"]
        ),
        "facts": list(_facts(section, words)),
    }


def _milliseconds(seconds: Score) -> tuple[str, str]:
    """Return a time and its interval in ms as text; an end that is not known is left open, a time that is not is a dash."""
    value, low, high = (digits(1000 * v) if v == v else "" for v in (seconds.value, seconds.low, seconds.high))
    if not value:
        return "–", ""
    if low and high:
        return value, f"{low} … {high}"
    return value, f"≥ {low}" if low else f"≤ {high}" if high else ""


def _rates(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rates = {int(batch): float(rate) for batch, rate in found.items() if batch.isdigit()}
    most = max(rates.values(), default=0.0)
    return [
        {"batch": batch, "rate": digits(rate), "share": rate / most, "best": batch == found["batch"]}
        for batch, rate in sorted(rates.items())
        if most > 0
    ]


def _facts(section: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and what it is of everything that the machine told."""
    if memory := section.get("memory"):
        added = amount(float(memory["added"]), "B")
        yield words("cost.memory"), amount(float(memory["peak"]), "B"), words("cost.memory_about", added=added)
    for name, unit in (("flops", "FLOP"), ("parameters", ""), ("bundle_bytes", "B")):
        if section.get(name) is not None:
            yield words(f"cost.{name}"), amount(float(section[name]), unit), words(f"cost.{name}_about")
    if energy := section.get("energy"):
        yield words("cost.energy"), amount(float(energy["joules_per_picture"]), "J"), words("cost.energy_about")


def amount(value: float, unit: str) -> str:
    r"""Return a value ≥ 0 with three digits, a decimal prefix and its unit.

    >>> amount(13_240_000, "B"), amount(0.0412, "J"), amount(999_600, "FLOP")
    ('13.2\xa0MB', '41.2\xa0mJ', '1.00\xa0MFLOP')
    """
    power = math.floor(math.log10(value) / 3) if value > 0 else 0
    power = min(max(power, 0 if unit in ("", "B") else min(PREFIXES)), max(PREFIXES))
    if value / 1000.0**power >= 999.5 and power < max(PREFIXES):
        power += 1
    whole = unit in ("", "B") and not power
    text = f"{value:.0f}" if whole else digits(value / 1000.0**power)
    return f"{text}\u00a0{PREFIXES[power]}{unit}".rstrip("\u00a0")


def digits(value: float) -> str:
    """Return a value ≥ 0 with three digits, thousands marked.

    >>> digits(12345.6), digits(12.345), digits(0.0123)
    ('12,346', '12.3', '0.0123')
    """
    power = math.floor(math.log10(float(f"{value:.2e}"))) if value > 0 else 0
    return f"{value:,.{min(max(0, 2 - power), 6)}f}"
