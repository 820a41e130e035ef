"""The audit of a source: what its files, pixels and labels say, with what a net is needed for computed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beholder.base.records import Pictures
from beholder.data.audit import Findings
from beholder.data.audit import audit as run_checks
from beholder.data.checks import Evidence
from beholder.data.digest import digested
from beholder.data.facts import facts
from beholder.data.sources import scan
from beholder.data.twins import twins


def audit(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    checks: Sequence[str] | None = None,
    seed: int = 0,
    allow_download: bool = False,
) -> Findings:
    """Return what is wrong with the pictures and labels of a source.

    source: what `scan` takes, or Pictures; checks: their names, all by default; seed: of the folds and the nets trained in them
    allow_download: fetch a source that is not on this machine
    Nothing of the source is changed. Raises what `scan` raises, and `UsageError` for a check that there is none of.
    """
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    known = facts(pictures)
    return run_checks(Evidence(pictures, known, twins=twins(pictures, known)), names=checks)
