"""The review page: a person looks at what the audit found and decides, in a browser on the same machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beholder.quality.audit import Findings
from beholder.review.door import opened
from beholder.review.server import Server
from beholder.review.session import Session


@dataclass(frozen=True)
class Reviewed:
    """What came of a review.

    audit: the file; findings: how many there are; decided: about how many of them; kept, dropped, relabelled: of pictures
    """

    audit: Path
    findings: int
    decided: int
    kept: int
    dropped: int
    relabelled: int

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {**asdict(self), "audit": str(self.audit)}

    def __str__(self) -> str:
        figures = f"{self.kept:,} kept, {self.dropped:,} dropped, {self.relabelled:,} relabelled"
        return f"{self.decided:,} of {self.findings:,} findings decided (pictures: {figures}) in {self.audit}"


def review(
    findings: Findings, path: str | Path, *, source: str = "SOURCE", port: int = 0, ready: Callable[[str], None] | None = None
) -> Reviewed:
    """Serve the review page on loopback until the person finishes, or presses Ctrl-C; audit.csv at `path` is always up to date.

    source: how the next command names the source; port: 0 = any that is free; ready: called with the page's address
    Raises `UsageError` (port-taken), `DataError` (other-audit), `MachineError` (audit.csv cannot be written).
    """
    session = Session(findings, Path(path))
    session.save()
    following = f"beholder clean {shlex.quote(source)} --apply {shlex.quote(str(path))} --out CLEANED"
    server = opened(lambda: Server(session, following=following, port=port), port)
    server.run(what="reviewing", said=f"Ctrl-C ends it; {path} holds every decision at once", ready=ready)
    progress = {key: int(str(value)) for key, value in session.progress().items() if key in Reviewed.__dataclass_fields__}
    return Reviewed(Path(path), **progress)
