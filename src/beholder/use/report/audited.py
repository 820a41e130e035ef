"""The report's parts on the audit: counts by check, the surest findings as pictures, and labels that are probably wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from beholder.base.errors import BeholderError
from beholder.base.records import Finding, PixelPolicy
from beholder.data.audit import Findings
from beholder.data.checks import CHECKS
from beholder.data.image import load
from beholder.use import plots
from beholder.use.report.room import Room

EACH, MOST = 6, 60
"""Pictures shown of one check, and in all: the file stays small whatever was found."""

LABELS = ("label", "conflict")
"""The checks that doubt a label: they have a part of their own, with more pictures."""

SUSPECTS = 18
_POLICY = PixelPolicy(160, 160, 3, "pad", (127, 127, 127))


@dataclass(frozen=True)
class Suspect:
    """One finding as it is shown: a data URI (None where there is no picture), its label, what is said of it, its key."""

    image: str | None
    label: str
    verdict: str
    suggestion: str
    key: str


def labels(room: Room) -> dict[str, Any] | None:
    """Return {"summary", "shown"}: labels that are probably wrong; None where no audit looked for them."""
    kept = room.config.get("audit")
    if not kept or not set(LABELS) & set(kept.get("found", {})):
        return None
    count = sum(int(kept["found"].get(check, 0)) for check in LABELS)
    rows = [row for row in room.findings.rows if row.check in LABELS and row.picture] if room.findings else []
    shown = _suspects(room, rows, SUSPECTS)
    key = "none" if not count else "some" if shown else "unseen"
    return {"summary": room.words(f"labels.{key}", n=count), "shown": shown}


def audit(room: Room) -> dict[str, Any] | None:
    """Return {"summary", "rows", "groups"}: what the bundle keeps of the audit; its findings where they are at hand."""
    kept = room.config.get("audit")
    if not kept or "found" not in kept:
        return None
    found = {check: int(n) for check, n in kept.get("found", {}).items() if n}
    known = set(CHECKS.names())
    rows = [{"check": check, "found": n, **_meaning(room, check)} for check, n in found.items() if check in known]
    return {"summary": _summary(room, sum(found.values())), "rows": rows, "groups": _groups(room)}


def _meaning(room: Room, check: str) -> dict[str, str]:
    """Return what a check means and what to do about it; a plug-in's own words where the table has none."""
    words, own = room.words, CHECKS.load(check)
    if not words.has(f"check.{check}"):
        return {"meaning": own.sentence, "hint": own.hint}
    return {"meaning": words(f"check.{check}"), "hint": words(f"check.{check}_hint")}


def _summary(room: Room, total: int) -> str:
    kept = room.config["audit"]
    done = {name: kept.get(name, 0) for name in ("dropped", "relabelled", "moved")}
    if not total and not any(done.values()):
        return room.words("audit.nothing")
    return room.words("audit.acted" if any(done.values()) else "audit.untouched", n=total, policy=kept.get("policy"), **done)


def _groups(room: Room) -> list[dict[str, Any]]:
    """Return per check {"name", "remarks", "shown"}: sentences about the set or a class, and suspects."""
    groups, left = [], MOST
    rows = room.findings.rows if room.findings else ()
    for name, some in groupby(rows, key=lambda row: row.check):
        found = list(some)
        remarks = [room.words.said(row.verdict) for row in found if not row.picture][:EACH]
        shown = [] if name in LABELS else _suspects(room, [row for row in found if row.picture], min(EACH, left))
        left -= len(shown)
        if remarks or shown:
            groups.append({"name": name, "remarks": remarks, "shown": shown})
    return groups


def _suspects(room: Room, rows: Sequence[Finding], most: int) -> list[Suspect]:
    if room.findings is None:
        return []
    index = {key: at for at, key in enumerate(room.findings.pictures.keys)}
    return [_suspect(room, room.findings, index[row.picture], row) for row in [r for r in rows if r.picture in index][:most]]


def _suspect(room: Room, findings: Findings, at: int, row: Finding) -> Suspect:
    pictures, (what, _, label) = findings.pictures, row.suggestion.partition(":")
    try:
        image = plots.thumbnail(load(pictures.store.read(pictures.keys[at]), _POLICY))
    except BeholderError:
        image = None
    suggestion = (
        "" if what == "keep" else room.words(f"audit.{what}", label=label) if what in ("drop", "relabel") else row.suggestion
    )
    return Suspect(image, "; ".join(pictures.labels(at)), room.words.said(row.verdict), suggestion, row.picture)
