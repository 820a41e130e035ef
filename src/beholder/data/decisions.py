"""What a person decided about pictures: it is kept from one audit to the next, and never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from beholder.base.errors import DataError
from beholder.base.records import Finding, Pictures
from beholder.data.audit import Findings, decided, read

REVIEWED = "review"
"""The check that a row of audit.csv names which stands for nothing but a decision."""


def with_decisions(findings: Findings, decisions: Mapping[str, str]) -> Findings:
    """Return the findings with what a person decided, picture → keep | drop | relabel:CLASS; other pictures stay as they are.

    A picture that no finding is about gets a row of its own, which says nothing but the decision.
    """
    rows = [replace(row, decided=decisions.get(row.picture, row.decided)) for row in findings.rows if row.check != REVIEWED]
    merged = {**decided(findings.rows), **decisions}
    seen = {row.picture for row in rows}
    rows += [row_of(key, what) for key, what in merged.items() if what and key not in seen]
    return replace(findings, rows=tuple(rows))


def row_of(picture: str, what: str) -> Finding:
    """Return the row for a decision about a picture that no finding is about."""
    return Finding(picture, REVIEWED, 1.0, "decided by a person", "keep", "", what)


def continued(findings: Findings, path: str | Path) -> Findings:
    """Return the findings with the decisions in the audit.csv at `path`, if there is one.

    Raises `DataError` (bad-audit: what is there is no audit.csv; other-audit: it holds decisions about another source).
    """
    if not Path(path).exists():
        return findings
    return with_decisions(findings, _of(findings.pictures, path, decided(read(path))))


def reopened(pictures: Pictures, path: str | Path) -> Findings:
    """Return the findings in an audit.csv of `pictures` without auditing them again. Raises what `continued` raises."""
    rows = read(path)
    _of(pictures, path, decided(rows))
    return Findings(pictures, tuple(rows), {})


def _of(pictures: Pictures, path: str | Path, decisions: dict[str, str]) -> dict[str, str]:
    """Return the decisions if one of them at least is about these pictures, or there are none."""
    if decisions and not any(key in decisions for key in pictures.keys):
        raise DataError(
            f"{path} holds {len(decisions):,} decisions about pictures of another source, such as {next(iter(decisions))}",
            code="other-audit",
            hint="choose another file with --out, or move this one away",
        )
    return decisions
