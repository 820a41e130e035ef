"""The report's parts on the audit: counts by check, the surest findings as pictures, and labels that are probably wrong."""

from __future__ import annotations

import time
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


def seconds(findings: Findings | None) -> float:
    """Return about how long the pictures of both parts take to be read and decoded: as many times as long as one of them."""
    if findings is None:
        return 0.0
    doubted = [row for row in findings.rows if row.check in LABELS and row.picture][:SUSPECTS]
    rows = doubted + [row for _, _, shown in _chosen(findings) for row in shown]
    if not rows:
        return 0.0
    began = time.monotonic()
    _image(findings, rows[len(rows) // 2].picture)
    return (time.monotonic() - began) * len(rows)


def _groups(room: Room) -> list[dict[str, Any]]:
    """Return per check {"name", "remarks", "shown"}: sentences about the set or a class, and suspects."""
    if room.findings is None:
        return []
    return [
        {"name": name, "remarks": [room.words.said(remark) for remark in remarks], "shown": _suspects(room, rows, EACH)}
        for name, remarks, rows in _chosen(room.findings)
    ]


def _chosen(findings: Findings) -> list[tuple[str, list[str], list[Finding]]]:
    """Return check, sentences about the set or a class, and the findings whose pictures are shown."""
    known = set(findings.pictures.keys)
    groups, left = [], MOST
    for name, some in groupby(findings.rows, key=lambda row: row.check):
        rows = list(some)
        remarks = [row.verdict for row in rows if not row.picture][:EACH]
        shown = [] if name in LABELS else [row for row in rows if row.picture in known][: min(EACH, left)]
        left -= len(shown)
        if remarks or shown:
            groups.append((name, remarks, shown))
    return groups


def _suspects(room: Room, rows: Sequence[Finding], most: int) -> list[Suspect]:
    findings = room.findings
    if findings is None:
        return []
    index = {key: at for at, key in enumerate(findings.pictures.keys)}
    known = [row for row in rows if row.picture in index][:most]
    return [_suspect(room, findings, index[row.picture], row) for row in known]


def _suspect(room: Room, findings: Findings, at: int, row: Finding) -> Suspect:
    what, _, label = row.suggestion.partition(":")
    suggestion = room.words(f"audit.{what}", label=label) if what in ("drop", "relabel") else row.suggestion
    labels = "; ".join(findings.pictures.labels(at))
    shown = "" if what == "keep" else suggestion
    return Suspect(_image(findings, row.picture), labels, room.words.said(row.verdict), shown, row.picture)


def _image(findings: Findings, key: str) -> str | None:
    try:
        return plots.thumbnail(load(findings.pictures.store.read(key), _POLICY))
    except BeholderError:
        return None
