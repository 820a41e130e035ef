"""The report: one self-contained HTML file that says what was found, shows the mistakes, and tells how to do it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beholder.base.files import write_atomic
from beholder.data.audit import Findings
from beholder.use.report.page import page
from beholder.use.report.room import Room
from beholder.use.words import Words

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.use.evaluate import Evaluation


def report(
    bundle: Bundle, evaluation: Evaluation, path: str | Path, *, findings: Findings | None = None, lang: str = "en"
) -> Path:
    """Write the report as one HTML file of at most a few MB that needs no network; return its path.

    findings: what the audit found, to be shown with its pictures. lang: en | zh.
    Raises `MachineError` where it cannot be written, `UsageError` for an unknown language.
    """
    path = Path(path)
    # A file name that is not Unicode must not cost the report: such characters become question marks.
    write_atomic(path, render(bundle, evaluation, findings, lang).encode("utf-8", "replace"))
    return path


def render(bundle: Bundle, evaluation: Evaluation, findings: Findings | None = None, lang: str = "en") -> str:
    """Return the report as HTML text. Every name in it is escaped: class and file names come from strangers."""
    return page(Room(bundle, evaluation, findings, Words(lang)))
