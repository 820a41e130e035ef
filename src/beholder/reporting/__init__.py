"""The report: one self-contained HTML file with findings, scores, errors and the commands to reproduce them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beholder.base.deadline import NEVER, Deadline
from beholder.base.files import write_atomic
from beholder.evaluation.words import Words

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.evaluation.evaluate import Evaluation
    from beholder.quality.audit import Findings


def report(
    bundle: Bundle,
    evaluation: Evaluation,
    path: str | Path,
    *,
    findings: Findings | None = None,
    lang: str = "en",
    until: Deadline = NEVER,
) -> Path:
    """Write the report as one HTML file of at most a few MB that needs no network; return its path.

    findings: what the audit found, to be shown with its pictures. lang: en | zh.
    until: when heat maps should be over; of mistakes that there is no time for, only the picture is shown
    Raises `MachineError` where it cannot be written, `UsageError` for an unknown language.
    """
    path = Path(path)
    # A file name that is not Unicode must not cost the report: such characters become question marks.
    write_atomic(path, render(bundle, evaluation, findings, lang, until).encode("utf-8", "replace"))
    return path


def render(
    bundle: Bundle,
    evaluation: Evaluation,
    findings: Findings | None = None,
    lang: str = "en",
    until: Deadline = NEVER,
) -> str:
    """Return the report as HTML text. Every name in it is escaped: class and file names come from outside."""
    from beholder.reporting.context import Room  # with torch, which what notebooks show of pictures does without
    from beholder.reporting.page import page

    return page(Room(bundle, evaluation, findings, Words(lang), until))
