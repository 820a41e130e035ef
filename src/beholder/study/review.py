"""The audit of a source with a person's decisions: kept from one audit to the next, and taken on the review page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from beholder.base import events
from beholder.base.recipe import Recipe
from beholder.data.audit import Findings
from beholder.data.decisions import continued, reopened
from beholder.data.sources import scan
from beholder.study.examine import MINUTES, audit
from beholder.use.review import Reviewed
from beholder.use.review import review as serve


def audited(
    source: str,
    out: Path,
    *,
    checks: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
    allow_download: bool = False,
) -> Findings:
    """Audit a source and write audit.csv to `out`; decisions that a person took in an older one there are kept.

    Raises what `audit` raises, and `DataError` (bad-audit, other-audit) before it overwrites what is not an audit of it.
    """
    if out.exists():
        continued(Findings(scan(source, allow_download=allow_download), (), {}), out)
    found = audit(source, checks=checks, recipe=recipe or "quick", minutes=minutes, seed=seed, allow_download=allow_download)
    findings = continued(found, out)
    findings.save(out)
    return findings


def review(
    source: str,
    out: Path,
    *,
    checks: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
    port: int = 0,
    allow_download: bool = False,
    ready: Callable[[str], None] | None = None,
) -> Reviewed:
    """Serve the review page of a source; an audit.csv at `out` is gone on with, unless `checks` asks for a new audit.

    ready: called with the page's address. Raises what `audited` and `beholder.use.review.review` raise.
    """
    if out.exists() and not checks:
        findings = reopened(scan(source, allow_download=allow_download), out)
        events.note(f"going on with {out}; without --web, or after it is moved away, the source is audited anew")
    else:
        findings = audited(source, out, checks=checks, recipe=recipe, minutes=minutes, seed=seed, allow_download=allow_download)
    return serve(findings, out, source=source, port=port, ready=ready)
