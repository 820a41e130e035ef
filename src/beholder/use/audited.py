"""The report's section on the audit: counts by check, and the surest findings as pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from beholder.base.errors import BeholderError
from beholder.base.records import Finding, PixelPolicy
from beholder.data.audit import Findings
from beholder.data.checks import CHECKS
from beholder.data.image import load
from beholder.use import plots

EACH, MOST = 6, 60
"""Pictures shown of one check, and in all: the file stays small whatever was found."""

_POLICY = PixelPolicy(160, 160, 3, "pad", (127, 127, 127))


@dataclass(frozen=True)
class Suspect:
    """One finding as it is shown: a data URI (None where there is no picture), its label, what is said of it, its key."""

    image: str | None
    label: str
    verdict: str
    suggestion: str
    key: str


def section(findings: Findings | None, kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the template shows: summary, rows of the table, and per check its remarks and suspects.

    kept: what the bundle keeps of the audit, all that is left of it where `findings` is None. None: there was no audit.
    """
    if not kept or "found" not in kept:
        return None
    found = {check: int(n) for check, n in kept.get("found", {}).items() if n}
    known = set(CHECKS.names())
    rows = [
        {"check": name, "found": n, "meaning": CHECKS.load(name).sentence, "hint": CHECKS.load(name).hint}
        for name, n in found.items()
        if name in known
    ]
    return {"summary": _summary(kept, sum(found.values())), "rows": rows, "groups": _groups(findings) if findings else []}


def _summary(kept: Mapping[str, Any], total: int) -> str:
    dropped, relabelled, moved = (kept.get(name, 0) for name in ("dropped", "relabelled", "moved"))
    if not total and not (dropped or relabelled or moved):
        return "Nothing was found that a person should look at."
    done = (
        f"{dropped} pictures were left out and {relabelled} given another label"
        if dropped or relabelled or moved
        else "none was acted on"
    )
    done += f", {moved} were moved to the part where their twins are" if moved else ""
    return f"{total} findings; {done} (--audit {kept.get('policy')}). Every one is in the bundle's audit.csv."


def seconds(findings: Findings | None) -> float:
    """Return about how long the pictures of `section` take to be read and decoded: as many times as long as one of them."""
    rows = [] if findings is None else [row for _, _, shown in _chosen(findings) for row in shown]
    if findings is None or not rows:
        return 0.0
    index = {key: row for row, key in enumerate(findings.pictures.keys)}
    began = time.monotonic()
    _suspect(findings, index[rows[len(rows) // 2].picture], "", "")
    return (time.monotonic() - began) * len(rows)


def _groups(findings: Findings) -> list[tuple[str, list[str], list[Suspect]]]:
    """Return check, sentences about the set or a class, and suspects."""
    index = {key: row for row, key in enumerate(findings.pictures.keys)}
    return [
        (name, remarks, [_suspect(findings, index[row.picture], row.verdict, row.suggestion) for row in shown])
        for name, remarks, shown in _chosen(findings)
    ]


def _chosen(findings: Findings) -> list[tuple[str, list[str], list[Finding]]]:
    """Return check, sentences about the set or a class, and the findings whose pictures are shown."""
    known = set(findings.pictures.keys)
    groups, left = [], MOST
    for name, some in groupby(findings.rows, key=lambda row: row.check):
        rows = list(some)
        remarks = [row.verdict for row in rows if not row.picture][:EACH]
        shown = [row for row in rows if row.picture in known][: min(EACH, left)]
        left -= len(shown)
        if remarks or shown:
            groups.append((name, remarks, shown))
    return groups


def _suspect(findings: Findings, row: int, verdict: str, suggestion: str) -> Suspect:
    pictures = findings.pictures
    try:
        image = plots.thumbnail(load(pictures.store.read(pictures.keys[row]), _POLICY))
    except BeholderError:
        image = None
    return Suspect(image, "; ".join(pictures.labels(row)), verdict, suggestion, pictures.keys[row])
