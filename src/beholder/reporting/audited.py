"""The report's sections on the audit: counts by check, the most certain findings as pictures, suspected label errors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from beholder.base.errors import BeholderError
from beholder.base.records import Finding
from beholder.base.renamed import current
from beholder.bundle.config import Audited
from beholder.evaluation.remarks import shortcut_apart
from beholder.image import decode
from beholder.quality.audit import Findings
from beholder.quality.checks import CHECKS, meaning
from beholder.quality.checks.shortcuts import stated
from beholder.reporting import charts
from beholder.reporting.context import Room

EACH, MOST = 6, 60
"""Pictures shown of one check, and in all: the file stays small whatever was found."""

LABELS = ("label", "conflict")
"""The checks that doubt a label: they have a part of their own, with more pictures."""

SUSPECTS = 18


@dataclass(frozen=True)
class Suspect:
    """One finding as it is shown: a data URI (None where there is no picture), its label, what is said of it, its key.

    other: of a duplicate, the picture that it is one of: what is shown of that
    """

    image: str | None
    label: str
    verdict: str
    suggestion: str
    key: str
    other: Suspect | None = None


def labels(room: Room) -> dict[str, Any] | None:
    """Return {"summary", "shown"}: labels that may be wrong; None where no audit looked for them."""
    kept = room.config.audit
    if kept is None or not set(LABELS) & set(kept.found or ()):
        return None
    count = sum((kept.found or {}).get(check, 0) for check in LABELS)
    rows = [row for row in room.findings.rows if row.check in LABELS and row.picture] if room.findings else []
    shown = _suspects(room, rows, SUSPECTS)
    key = "none" if not count else "some" if shown else "unseen"
    return {"summary": room.words(f"labels.{key}", n=count), "shown": shown}


def audit(room: Room) -> dict[str, Any] | None:
    """Return {"summary", "rows", "groups"}: what the bundle keeps of the audit; its findings where they are at hand."""
    kept = room.config.audit
    if kept is None or kept.found is None:
        return None
    found = {current("check", check, warn=False): n for check, n in kept.found.items() if n}
    known = set(CHECKS.names())
    rows = [{"check": check, "found": n, **_meaning(room, check)} for check, n in found.items() if check in known]
    late = [room.words.said(note) for note in room.findings.notes] if room.findings else []
    summary = " ".join([_summary(room, kept, sum(found.values())), *(f"{note[:1].upper()}{note[1:]}." for note in late)])
    return {"summary": summary, "rows": rows, "groups": _groups(room)}


def _meaning(room: Room, check: str) -> dict[str, str]:
    """Return what a check means and what to do about it; a plug-in's own words where the table has none."""
    if room.words.has(f"check.{check}"):
        return {"meaning": room.words(f"check.{check}"), "hint": room.words(f"check.{check}_hint")}
    return meaning(check)


def _summary(room: Room, kept: Audited, total: int) -> str:
    done = {"dropped": kept.dropped, "relabelled": kept.relabelled, "moved": kept.moved}
    if not total and not any(done.values()):
        return room.words("audit.nothing")
    return room.words("audit.acted" if any(done.values()) else "audit.untouched", n=total, policy=kept.policy, **done)


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
    return (time.monotonic() - began) * sum(2 if row.other else 1 for row in rows)


def _groups(room: Room) -> list[dict[str, Any]]:
    """Return per check {"name", "remarks", "shown"}: sentences about the set or a class, and suspects."""
    if room.findings is None:
        return []
    return [
        {"name": name, "remarks": _remarks(room, name, remarks), "shown": _suspects(room, rows, EACH)}
        for name, remarks, rows in _chosen(room.findings)
    ]


def _remarks(room: Room, check: str, remarks: list[str]) -> list[str]:
    """Return sentences in the report's language; of shortcuts those that the model may live by first, others told apart."""
    section = room.section("shortcuts") if check == "shortcut" else None
    rows = {} if section is None else {(row["label"], row["facet"]): (at, row) for at, row in enumerate(section["rows"])}
    said: list[tuple[int, str]] = []
    for remark in remarks:
        one = stated(remark) if rows else None
        at, row = rows.get((one.label, one.facet), (len(rows), {})) if one else (len(rows), {})
        why = shortcut_apart(row, room.words) if row else ""
        said.append((at, room.words.said(remark) + (room.words("form.semicolon") + why if why else "")))
    return [text for _, text in sorted(said, key=lambda pair: pair[0])]


def _chosen(findings: Findings) -> list[tuple[str, list[str], list[Finding]]]:
    """Return check, sentences about the set or a class, and the findings whose pictures are shown."""
    known = set(findings.pictures.keys)
    groups, left = [], MOST
    for name, some in groupby(findings.rows, key=lambda row: row.check):
        rows = list(some)
        remarks = [row.verdict for row in rows if not row.picture][: None if name == "shortcut" else EACH]
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
    return [_suspect(room, findings, index, row) for row in known]


def _suspect(room: Room, findings: Findings, index: Mapping[str, int], row: Finding) -> Suspect:
    at = index[row.picture]
    what, _, label = row.suggestion.partition(":")
    suggestion = room.words(f"audit.{what}", label=label) if what in ("drop", "relabel", "review") else row.suggestion
    labels = "; ".join(findings.pictures.labels(at))
    shown = "" if what == "keep" else suggestion
    beside = index.get(row.other, -1)
    other = None
    if beside >= 0:
        other = Suspect(_image(findings, row.other), "; ".join(findings.pictures.labels(beside)), "", "", row.other)
    return Suspect(_image(findings, row.picture), labels, room.words.said(row.verdict), shown, row.picture, other)


def _image(findings: Findings, key: str) -> str | None:
    try:
        data, bits = findings.pictures.store.read(key), findings.pictures.bits or 0
        return charts.thumbnail(decode(data, channels=3, bits=bits).transpose(2, 0, 1))
    except BeholderError:
        return None
