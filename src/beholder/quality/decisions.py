"""Decisions of a reviewer: kept from one audit to the next, never overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from beholder.base.errors import DataError
from beholder.base.names import composed
from beholder.base.records import Finding, Pictures
from beholder.quality.audit import Findings, decided, read
from beholder.quality.boxes import Decided, decided_boxes

REVIEWED = "review"
"""The check that a row of audit.csv names which stands for nothing but a decision."""


def with_decisions(findings: Findings, decisions: Mapping[str, str], boxes: Decided | None = None) -> Findings:
    """Return the findings with what a person decided, picture → keep | drop | relabel:CLASS; other pictures stay as they are.

    boxes: what was decided about single boxes
    A picture or a box that no finding is about gets a row of its own, which says nothing but the decision.
    """
    merged = _flat(decided(findings.rows), decided_boxes(findings.rows)) | _flat(decisions, boxes or {})
    found = [row for row in findings.rows if row.check != REVIEWED]
    rows = [replace(row, decided=merged.get((row.picture, row.box), row.decided)) for row in found]
    seen = {(row.picture, row.box) for row in rows}
    rows += [row_of(key, what, box) for (key, box), what in merged.items() if what and (key, box) not in seen]
    return replace(findings, rows=tuple(rows))


def _flat(pictures: Mapping[str, str], boxes: Decided) -> dict[tuple[str, str], str]:
    """Return (picture, box or "") → what was decided."""
    of_boxes = {(key, box): what for key, of in boxes.items() for box, what in of.items()}
    return {(key, ""): what for key, what in pictures.items()} | of_boxes


def row_of(picture: str, what: str, box: str = "") -> Finding:
    """Return the row for a decision about a picture, or one of its boxes, that no finding is about."""
    return Finding(picture, REVIEWED, 1.0, "decided by a person", "keep", "", what, box)


def continued(findings: Findings, path: str | Path) -> Findings:
    """Return the findings with the decisions in the audit.csv at `path`, if there is one.

    Raises `DataError` (bad-audit: what is there is no audit.csv; other-audit: it holds decisions about another source).
    """
    if not Path(path).exists():
        return findings
    rows = matched(read(path), findings.pictures)
    return with_decisions(findings, _of(findings.pictures, path, decided(rows)), decided_boxes(rows))


def reopened(pictures: Pictures, path: str | Path) -> Findings:
    """Return the findings in an audit.csv of `pictures` without auditing them again. Raises what `continued` raises."""
    rows = matched(read(path), pictures)
    _of(pictures, path, decided(rows))
    return Findings(pictures, tuple(rows), {})


def matched(rows: Sequence[Finding], pictures: Pictures) -> list[Finding]:
    """Return rows of an audit.csv with the names that the pictures have here: other systems write other Unicode forms."""
    if all(row.picture.isascii() and row.decided.isascii() and row.suggestion.isascii() for row in rows):
        return list(rows)
    names = {composed(key): key for key in pictures.keys if not key.isascii()} | {c: c for c in map(composed, pictures.classes)}

    def here(text: str) -> str:
        verb, colon, name = text.partition(":")
        return verb + colon + names.get(composed(name), name)

    return [
        replace(
            row,
            picture=names.get(composed(row.picture), row.picture),
            suggestion=here(row.suggestion),
            decided=here(row.decided),
        )
        for row in rows
    ]


def _of(pictures: Pictures, path: str | Path, decisions: dict[str, str]) -> dict[str, str]:
    """Return the decisions if one of them at least is about these pictures, or there are none."""
    if decisions and not any(key in decisions for key in pictures.keys):
        text = f"{path} holds {len(decisions):,} decisions about pictures of another source, such as {next(iter(decisions))}"
        hint = "choose another file with --out, or move this one away"
        raise DataError(text, code="other-audit", hint=hint)
    return decisions
